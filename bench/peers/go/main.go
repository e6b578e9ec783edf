// SPDX-License-Identifier: BSD-3-Clause

// peer-go: peer-go WORKLOAD VARIANT [N | PORT], with GOMAXPROCS in the environment.
package main

import (
	"fmt"
	"os"
	"strconv"
)

// A workload, with the size it has by default.
type workload struct {
	run  func(variant string, n int)
	size int
}

var workloads = map[string]workload{
	"offload_rtt":        {offloadRtt, 20000},
	"offload_throughput": {offloadThroughput, 200000},
	"fork_join":          {forkJoin, 25},
	"spawn_join":         {spawnJoin, 100000},
	"ping_pong":          {pingPong, 1000000},
	"mem_per_task":       {memPerTask, 100000},
	"timers":             {timers, 100000},
	"idle_cpu":           {idleCpu, 10},
	"echo_tcp":           {func(_ string, port int) { serve(port, echo) }, 9000},
	"mixed":              {func(_ string, port int) { serve(port, mixed) }, 9000},
}

func main() {
	if len(os.Args) < 3 {
		usage()
	}
	w, known := workloads[os.Args[1]]
	if !known {
		usage()
	}
	n := w.size
	if len(os.Args) > 3 {
		var err error
		if n, err = strconv.Atoi(os.Args[3]); err != nil {
			usage()
		}
	}
	w.run(os.Args[2], n)
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: peer-go WORKLOAD VARIANT [N | PORT]")
	os.Exit(2)
}
