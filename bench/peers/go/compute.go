// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"fmt"
	"time"
)

// serveJobs starts two goroutines that do jobs.
func serveJobs(jobs chan uint64, done chan uint64, work int) {
	for w := 0; w < 2; w++ {
		go func() {
			for x := range jobs {
				done <- chain(x, work)
			}
		}()
	}
}

// offloadRtt: a goroutine for each job (spawn), or two that take them from a channel (pool).
func offloadRtt(variant string, n int) {
	jobs, done := make(chan uint64), make(chan uint64)
	if variant == "pool" {
		serveJobs(jobs, done, 0)
	}
	trip := func(i int) uint64 {
		if variant == "pool" {
			jobs <- jobSeed(i)
		} else {
			go func(x uint64) { done <- chain(x, 0) }(jobSeed(i))
		}
		return <-done
	}
	r := roundsOf("offload_rtt", variant, n, "ns")
	r.each(func() float64 {
		start, sum := time.Now(), uint64(0)
		for i := 0; i < n; i++ {
			sum += trip(i)
		}
		ns := float64(time.Since(start)) / float64(n)
		expect(sum == jobsSum(n, 0), "the jobs' sum")
		return ns
	})
	var all []int
	last := time.Now()
	for i := 0; i < n; i++ {
		trip(i)
		now := time.Now()
		all = append(all, int(now.Sub(last)))
		last = now
	}
	r.report(fmt.Sprintf(",\"p50\":%d,\"p99\":%d", at(all, 0.5), at(all, 0.99)))
}

// offloadThroughput: spawn-us, spawn-empty, pool-us, pool-empty; 256 jobs outstanding.
func offloadThroughput(variant string, n int) {
	work := 0
	if variant == "spawn-us" || variant == "pool-us" {
		work = chainUs
	}
	pool := variant == "pool-us" || variant == "pool-empty"
	jobs, done := make(chan uint64, outstanding), make(chan uint64, outstanding)
	if pool {
		serveJobs(jobs, done, work)
	}
	r := roundsOf("offload_throughput", variant, n, "jobs/s")
	known := jobsSum(n, work)
	r.each(func() float64 {
		start, sum := time.Now(), uint64(0)
		for i := 0; i < n+outstanding; i++ {
			if i >= outstanding && i-outstanding < n {
				sum += <-done
			}
			if i >= n {
				continue
			}
			if pool {
				jobs <- jobSeed(i)
			} else {
				go func(x uint64) { done <- chain(x, work) }(jobSeed(i))
			}
		}
		rate := float64(n) / time.Since(start).Seconds()
		expect(sum == known, "the jobs' sum")
		return rate
	})
	r.report("")
}

func fib(n int) uint64 {
	a, b := uint64(0), uint64(1)
	for ; n > 0; n-- {
		a, b = b, a+b
	}
	return a
}

func fibGo(n int) uint64 {
	if n < 2 {
		return uint64(n)
	}
	c := make(chan uint64, 1)
	go func() { c <- fibGo(n - 1) }()
	b := fibGo(n - 2)
	return <-c + b
}

func forkJoin(variant string, n int) {
	r := roundsOf("fork_join", variant, n, "ns/join")
	forks := float64(fib(n+1)) - 1
	r.each(func() float64 {
		start := time.Now()
		result := fibGo(n)
		ns := float64(time.Since(start)) / forks
		expect(result == fib(n), "fib")
		return ns
	})
	r.report("")
}
