package store

import "github.com/multiformats/go-multihash"

// watched is a storage that lets a test act between two of its steps.
type watched struct {
	storage
	get    func(multihash.Multihash) error // before every Get; a non-nil error is returned
	put    func(multihash.Multihash) error // before every Put
	delete func(multihash.Multihash) error // before every Delete
}

func (w *watched) Get(key multihash.Multihash) ([]byte, error) {
	if w.get != nil {
		if err := w.get(key); err != nil {
			return nil, err
		}
	}
	return w.storage.Get(key)
}

func (w *watched) Put(key multihash.Multihash, data []byte) error {
	if w.put != nil {
		if err := w.put(key); err != nil {
			return err
		}
	}
	return w.storage.Put(key, data)
}

func (w *watched) Delete(key multihash.Multihash) error {
	if w.delete != nil {
		if err := w.delete(key); err != nil {
			return err
		}
	}
	return w.storage.Delete(key)
}
