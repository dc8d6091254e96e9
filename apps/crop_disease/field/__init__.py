"""Crop disease from the air: rasters of a field to tiles, maps, zones and prescriptions."""
