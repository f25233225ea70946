"""DamoFD (ICLR 2023): backbones found by DDSAR, in the SCRFD framework."""
