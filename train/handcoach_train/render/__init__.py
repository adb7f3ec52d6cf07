"""Rendered training hands: `arm` builds bodies, `posture` bends them, `draw` paints them, `write` stores them."""
