// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// As in bench.h.
const (
	chainUs     = 700
	chainHeavy  = 7000000
	heavyChunks = 64
	outstanding = 256
	message     = 64
	answerAt    = 8
	seed        = 88172645463325252
)

//go:noinline
func chain(x uint64, n int) uint64 {
	for i := 0; i < n; i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

func expect(holds bool, what string) {
	if !holds {
		fmt.Fprintln(os.Stderr, "wrong result: "+what)
		os.Exit(1)
	}
}

// Job i of a series is chain(jobSeed(i), work): what n of them must add up to.
func jobSeed(i int) uint64 {
	return uint64(i%outstanding) + 1
}

func jobsSum(n, work int) uint64 {
	sum := uint64(0)
	for i := 0; i < outstanding && i < n; i++ {
		times := n / outstanding
		if i < n%outstanding {
			times++
		}
		sum += chain(jobSeed(i), work) * uint64(times)
	}
	return sum
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + 1e-6*float64(u.Utime.Usec+u.Stime.Usec)
}

func residentBytes() float64 {
	b, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.Atoi(strings.Fields(string(b))[1])
	return float64(pages * os.Getpagesize())
}

// rounds measures as many rounds as BENCH_ROUNDS says, after one that is thrown away, and prints a JSON line.
type rounds struct {
	workload, variant, unit string
	n                       int
	samples                 []float64
	began                   time.Time
	cpu                     float64
}

func roundsOf(workload, variant string, n int, unit string) *rounds {
	return &rounds{workload: workload, variant: variant, n: n, unit: unit}
}

func roundsWanted() int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 7
}

func (r *rounds) start() {
	r.began, r.cpu = time.Now(), cpuSeconds()
}

func (r *rounds) each(round func() float64) {
	round()
	r.start()
	for i := 0; i < roundsWanted(); i++ {
		r.samples = append(r.samples, round())
	}
}

func (r *rounds) report(extra string) {
	cpus := (cpuSeconds() - r.cpu) / time.Since(r.began).Seconds()
	v := r.samples
	sort.Float64s(v)
	fmt.Printf("{\"peer\":\"go\",\"workload\":\"%s\",\"variant\":\"%s-p%d\",\"n\":%d,\"unit\":\"%s\","+
		"\"median\":%.4g,\"min\":%.4g,\"max\":%.4g,\"rounds\":%d,\"cpus\":%.3f%s}\n",
		r.workload, r.variant, runtime.GOMAXPROCS(0), r.n, r.unit, v[len(v)/2], v[0], v[len(v)-1], len(v), cpus, extra)
}

// at sorts, and returns the value that share of them do not exceed.
func at(v []int, share float64) int {
	sort.Ints(v)
	return v[int(share*float64(len(v)-1)+0.5)]
}
