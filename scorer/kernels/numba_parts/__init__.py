"""Steps of chains that are more than a loop or two, as numba compiles them: neighbours, columns of curves."""
