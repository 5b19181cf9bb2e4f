"""Templates: what files of one fleet have in common, so that a further file is compared with it instead of read."""
