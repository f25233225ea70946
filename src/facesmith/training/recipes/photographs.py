"""The project's own training photographs, as the recipes that are meant for them draw from them."""

from facesmith.data.sources import SourceConfig

PHOTOGRAPHS = (
    SourceConfig("widerface", share=0.72),
    SourceConfig("street", share=0.13, complete=False),
    SourceConfig("landmarks", share=0.08, complete=False),
    SourceConfig("background", share=0.07),
)
