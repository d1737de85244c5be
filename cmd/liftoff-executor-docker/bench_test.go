package main

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// BenchmarkContainer runs a container that does nothing in two ways: with `docker run --rm`,
// and through a running node, with everything that the node records of a job. The two
// alternate, so that a busy machine slows both. The reported metric is the second over the
// first.
func BenchmarkContainer(b *testing.B) {
	e := engine(b)
	b.Setenv("DOCKER_HOST", e.Host)
	n := &mortal{t: b, dir: b.TempDir(), plugins: filepath.Dir(program(b))}
	n.open()
	defer n.close()
	image := n.add(archive(b))
	run := func(i int) {
		task := dockerTask(image, "ok")
		task.Nonce = []byte(strconv.Itoa(i))
		if _, err := n.node.Run(b.Context(), api.Request{Task: task}, api.Watch{}); err != nil {
			b.Fatal(err)
		}
	}
	run(-1) // starts the plugin and loads the image
	tag := "liftoff-oci:" + image.String()
	var docker, node time.Duration
	i := 0
	for b.Loop() {
		begin := time.Now()
		dockerCLI(b, e, "run", "--rm", "--network", "none", tag, "ok")
		docker += time.Since(begin)
		begin = time.Now()
		run(i)
		node += time.Since(begin)
		i++
	}
	b.ReportMetric(float64(docker.Milliseconds())/float64(i), "docker-ms")
	b.ReportMetric(float64(node.Milliseconds())/float64(i), "node-ms")
	b.ReportMetric(float64(node)/float64(docker), "node/docker")
}
