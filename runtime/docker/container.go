package docker

import (
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// volumeSize is the size of a volume that an image declares. Volumes are in memory, and count
// towards the guest's memory limit.
const volumeSize = "64m"

// create returns the engine's options for the container of a run of image.
func (e *Engine) create(r wire.Run, im image) (client.ContainerCreateOptions, error) {
	tmpfs, err := volumes(im.volumes)
	if err != nil {
		return client.ContainerCreateOptions{}, err
	}
	network := "none"
	if r.Network {
		network = e.cfg.Network
	}
	return client.ContainerCreateOptions{
		Config: &container.Config{
			Image: im.id, User: e.user, Cmd: r.Task.Args, Env: environment(r.Task.Env), Hostname: "liftoff",
			AttachStdin: r.Task.Stdin, OpenStdin: r.Task.Stdin, StdinOnce: r.Task.Stdin, AttachStdout: true, AttachStderr: true,
			Labels:      map[string]string{labelOwner: e.cfg.Owner, labelRun: r.ID},
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			NetworkMode:    container.NetworkMode(network),
			ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
			IpcMode: container.IPCModePrivate, LogConfig: container.LogConfig{Type: "none"},
			Mounts: []mount.Mount{
				bind(filepath.Join(r.Dir, "in"), "/in", true),
				bind(filepath.Join(r.Dir, "out"), "/out", false),
				bind(filepath.Join(r.Dir, "tmp"), "/tmp", false),
			},
			Tmpfs:     tmpfs,
			Resources: e.resources(r.Limits),
		},
	}, nil
}

// resources limits the container. The node itself watches how much a run writes; the kernel
// limits the size of one file, and swap counts as memory.
func (e *Engine) resources(l wire.Limits) container.Resources {
	memory := int64(min(l.Memory, math.MaxInt64))
	file := int64(min(max(l.Out, l.Tmp), math.MaxInt64))
	return container.Resources{
		NanoCPUs: int64(e.cfg.CPUs * 1e9),
		Memory:   max(memory, minMemory), MemorySwap: max(memory, minMemory),
		PidsLimit: &e.cfg.Pids,
		Ulimits: []*container.Ulimit{
			{Name: "fsize", Soft: file, Hard: file},
			{Name: "core", Soft: 0, Hard: 0},
			{Name: "nofile", Soft: 4096, Hard: 4096},
		},
	}
}

// minMemory is the least that Docker accepts, in bytes.
const minMemory = 6 << 20

func bind(from, to string, readOnly bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeBind, Source: from, Target: to, ReadOnly: readOnly,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate},
	}
}

// environment returns the Task's environment, with a writable HOME.
func environment(env map[string]string) []string {
	all := []string{}
	if _, ok := env["HOME"]; !ok {
		all = append(all, "HOME=/tmp")
	}
	for k, v := range env {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return all
}

// volumes mounts a tmpfs of limited size at each volume that the image declares; the engine
// would create one on the disk. A volume that overlaps the run's own folders is refused.
func volumes(paths []string) (map[string]string, error) {
	all := map[string]string{}
	for _, p := range paths {
		clean := path.Clean("/" + p)
		switch {
		case clean == "/in", clean == "/out", clean == "/tmp": // the run provides these
			continue
		case clean == "/", strings.HasPrefix(clean, "/in/"), strings.HasPrefix(clean, "/out/"), strings.HasPrefix(clean, "/tmp/"), strings.Contains(p, ":"):
			return nil, wire.Refusef("image: unsupported volume %q", p)
		}
		all[clean] = "rw,nosuid,nodev,mode=1777,size=" + volumeSize
	}
	return all, nil
}
