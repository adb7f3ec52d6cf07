"""Rendered training hands: `arm` builds, `posture` bends, `scene` places, `draw` paints, `write` stores."""
