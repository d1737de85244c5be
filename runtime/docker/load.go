package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/moby/moby/client"

	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// archiveRepo is the engine's repository of images that were loaded from blocks. Their tags are
// CIDs.
const archiveRepo = "liftoff-oci"

func archiveTag(cid string) string { return archiveRepo + ":" + cid }

// archive returns the image that the run's module is, and loads it from the run's folder if the
// engine does not have it.
func (e *Engine) archive(ctx context.Context, r wire.Run) (name string, im image, err error) {
	name = archiveTag(r.Task.Module.CID)
	im, err = e.inspect(ctx, name)
	if isNotFound(err) {
		if err = e.load(ctx, filepath.Join(r.Dir, "module"), name); err == nil {
			im, err = e.inspect(ctx, name)
		}
	}
	if err != nil {
		return "", image{}, err
	}
	e.evict(ctx, name)
	return name, im, nil
}

// load sends an archive to the engine under our own tag: an untrusted archive must not redefine
// tags such as alpine.
func (e *Engine) load(ctx context.Context, file, tag string) error {
	l, err := openLayout(file)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := readContents(l)
	if err != nil {
		return err
	}
	config, err := readSmall(l, c.config)
	if err != nil {
		return err
	}
	if err := checkLayers(ctx, l, c.layers, e.cfg.MaxImage); err != nil {
		return err
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(writeSaved(w, l, c, config, tag)) }() // ends when r is closed
	res, err := e.docker.ImageLoad(ctx, r, client.ImageLoadWithQuiet(true))
	if err != nil {
		return fmt.Errorf("load image into the Docker engine: %w", err)
	}
	defer res.Close()
	return loaded(res)
}

// loaded reads the engine's answer to a load.
func loaded(answer io.Reader) error {
	for d := json.NewDecoder(io.LimitReader(answer, maxJSON)); ; {
		var message struct {
			Error string `json:"error"`
		}
		err := d.Decode(&message)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("load image into the Docker engine: %w", err)
		case message.Error != "":
			return wire.Refusef("docker engine: image rejected: %s", message.Error)
		}
	}
}

// writeSaved writes the archive in a form that every engine reads: the `docker save` format,
// with one image.
func writeSaved(w io.Writer, l layout, c contents, config []byte, tag string) error {
	type saved struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	s := saved{Config: "config.json", RepoTags: []string{tag}, Layers: []string{}}
	for i := range c.layers {
		s.Layers = append(s.Layers, fmt.Sprintf("%d.tar", i))
	}
	manifest, err := json.Marshal([]saved{s})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		b    []byte
	}{{"manifest.json", manifest}, {s.Config, config}} {
		if err := out.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.b))}); err != nil {
			return err
		}
		if _, err := out.Write(f.b); err != nil {
			return err
		}
	}
	for i, p := range c.layers {
		if err := writeLayer(out, l, p, s.Layers[i]); err != nil {
			return err
		}
	}
	return out.Close()
}

func writeLayer(out *tar.Writer, l layout, p part, name string) error {
	r, n, err := l.open(p.name)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: n}); err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return err
}

// evict records that an image was used, and removes the least recently used images that were
// loaded from blocks, beyond cfg.MaxImages. The engine keeps an image that is in use.
func (e *Engine) evict(ctx context.Context, used string) {
	e.images.mu.Lock()
	was := len(e.images.used)
	e.images.used = append(slices.DeleteFunc(e.images.used, func(n string) bool { return n == used }), used)
	fresh := len(e.images.used) > was
	order := slices.Clone(e.images.used)
	e.images.mu.Unlock()
	if !fresh {
		return
	}
	list, err := e.docker.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", archiveRepo)})
	if err != nil {
		return
	}
	var tags []string
	for _, i := range list.Items {
		tags = append(tags, i.RepoTags...)
	}
	slices.SortFunc(tags, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) }) // unknown tags first
	for _, tag := range tags[:max(0, len(tags)-e.cfg.MaxImages)] {
		e.images.forget(tag)
		if _, err := e.docker.ImageRemove(ctx, tag, client.ImageRemoveOptions{PruneChildren: true}); err != nil {
			e.cfg.Log.Info("remove image", "image", tag, "err", err)
		}
	}
}
