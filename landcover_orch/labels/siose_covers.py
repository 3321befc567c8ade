"""The covers of SIOSE: labels, codes and Spanish names, simple and predefined, and the classes of CODIIGE."""

from __future__ import annotations

_SIMPLE = """
EDF 101 edificación; ZAU 102 zona verde artificial y arbolado urbano; LAA 103 lámina de agua artificial;
VAP 104 vial, aparcamiento o zona peatonal sin vegetación; PAV 104 zonas pavimentadas o selladas;
OCT 111 otras construcciones; SNE 121 suelo no edificado; ZEV 131 zonas de extracción o vertido; CHA 211 arroz;
CHL 212 cultivos herbáceos distintos de arroz; LFC 222 frutales cítricos; LFN 223 frutales no cítricos; LVI 231 viñedo;
LOL 232 olivar; LOC 241 otros cultivos leñosos; LAL 241 otros cultivos leñosos; PRD 290 prados; PST 300 pastizal;
PMT 301 pastizal-matorral; FDC 312 frondosas caducifolias; FDP 313 frondosas perennifolias; CNF 316 coníferas;
MTR 320 matorral; PDA 331 playas, dunas y arenales; SDN 333 suelo desnudo; ZQM 334 zonas quemadas;
GNP 335 glaciares y nieves permanentes; GMP 335 glaciares y nieves permanentes; RMB 336 ramblas;
ACM 351 acantilados marinos; ARR 352 afloramientos rocosos y roquedos; CCH 353 canchales; ACH 353 canchales;
CLC 354 coladas lávicas; HPA 411 zonas pantanosas; HTU 412 turberas; HSA 413 salinas continentales; HMA 421 marismas;
HSM 422 salinas marinas; ACU 511 cursos de agua; AUC 511 cursos de agua; ALG 513 lagos y lagunas; AEM 514 embalses;
ALC 521 lagunas costeras; AES 522 estuarios; AMO 523 mares y océanos
"""

_PREDEFINED = """
DHS 701 dehesa; OVD 702 olivar-viñedo; AAR 703 asentamiento agrícola residencial; UER 704 huerta familiar;
UCS 810 urbano mixto, casco; UEN 812 urbano mixto, ensanche; UDS 813 urbano mixto, discontinuo;
IPO 821 industrial; IPS 822 industrial; IAS 823 industrial; PAG 831 primario; PFT 832 primario; PMX 833 primario;
PPS 834 primario; TCO 841 terciario; TCH 842 terciario; TPR 843 terciario; TCG 844 terciario; EAI 851 dotacional;
ESN 852 dotacional; ECM 853 dotacional; EDU 854 dotacional; EPN 855 dotacional; ERG 856 dotacional;
ECL 857 dotacional; EDP 858 dotacional; ECG 859 dotacional; EPU 860 dotacional; NRV 881 transporte;
NRF 882 transporte; NPO 883 transporte; NAP 884 transporte; NEO 891 infraestructuras; NSL 892 infraestructuras;
NCL 893 infraestructuras; NEL 894 infraestructuras; NTM 895 infraestructuras; NHD 896 infraestructuras;
NGO 897 infraestructuras; NTC 900 infraestructuras; NDP 911 infraestructuras; NCC 912 infraestructuras;
NDS 913 infraestructuras; NVE 921 infraestructuras; NPT 922 infraestructuras
"""

_CODIIGE = """
111 casco; 112 ensanche; 113 discontinuo; 114 zona verde urbana; 121 instalación agrícola y/o ganadera;
122 instalación forestal; 123 extracción minera; 130 industrial; 140 servicio dotacional;
150 asentamiento agrícola y huerta; 161 red viaria o ferroviaria; 162 puerto; 163 aeropuerto;
171 infraestructura de suministro; 172 infraestructura de residuos; 210 cultivo herbáceo; 220 invernadero;
231 frutal cítrico; 232 frutal no cítrico; 233 viñedo; 234 olivar; 235 otros cultivos leñosos;
236 combinación de cultivos leñosos; 240 prado; 250 combinación de cultivos;
260 combinación de cultivos con vegetación; 311 bosque de frondosas; 312 bosque de coníferas; 313 bosque mixto;
320 pastizal o herbazal; 330 matorral; 340 combinación de vegetación; 351 playa, duna o arenal; 352 roquedo;
353 temporalmente desarbolado por incendios; 354 suelo desnudo; 411 zona húmeda y pantanosa; 412 turbera; 413 marisma;
414 salina; 511 curso de agua; 512 lago o laguna; 513 embalse; 514 lámina de agua artificial; 515 mar;
516 glaciar y/o nieve perpetua
"""


def _entries(text: str) -> list[list[str]]:
    return [" ".join(entry.split()).split(" ") for entry in text.split(";")]


def _labelled(text: str) -> dict[str, tuple[int, str]]:
    return {label: (int(code), " ".join(name)) for label, code, *name in _entries(text)}


SIMPLE = _labelled(_SIMPLE)
"""Label -> code and Spanish name of each simple cover; where published tables give two labels, both stand here."""

PREDEFINED = _labelled(_PREDEFINED)
"""Label -> code and Spanish name of each predefined composite."""

CODIIGE = {int(code): " ".join(name) for code, *name in _entries(_CODIIGE)}
"""Code -> Spanish name of each CODIIGE class, one a polygon."""

ARRANGEMENTS = "AIMR"
"""Heads of composites that say how their members are spread: association and the mosaics."""

_COVERS = SIMPLE | PREDEFINED


_NAMES = {
    str(number): (*(label for label, (code, _) in _COVERS.items() if code == number), str(number))
    for number in sorted({code for code, _ in _COVERS.values()})
}


def names_of(cover: str) -> tuple[str, ...]:
    """All that a cover is called, its number last: 'LOC' and '241' both give LOC, LAL, 241; others only themselves."""
    number = str(_COVERS[cover][0]) if cover in _COVERS else cover
    return _NAMES.get(number, (cover,))
