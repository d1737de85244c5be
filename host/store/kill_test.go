package store

func childChurns(dir, seed string) error { return nil }
