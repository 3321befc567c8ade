"""Label quality: topology, conservation of area, and the shift of labels against their image."""
