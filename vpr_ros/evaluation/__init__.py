"""How well places are recognised: who is right, by what measure, and how to show it."""
