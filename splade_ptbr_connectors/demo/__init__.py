"""The main job end to end on the sample collection that ships in the package."""
