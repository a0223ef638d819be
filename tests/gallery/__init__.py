"""The gallery: realistic incidents, and the messages that the router makes of them, see docs/gallery/."""
