// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// spawnJoin: by a WaitGroup (wg), or each task sends its number (chan).
func spawnJoin(variant string, n int) {
	r := roundsOf("spawn_join", variant, n, "ns/task")
	known := uint64(n) * uint64(n-1) / 2
	r.each(func() float64 {
		start, sum := time.Now(), uint64(0)
		if variant == "wg" {
			sum = spawnAndWait(n)
		} else {
			sum = spawnAndReceive(n)
		}
		ns := float64(time.Since(start)) / float64(n)
		expect(sum == known, "every task once")
		return ns
	})
	r.report("")
}

func spawnAndWait(n int) uint64 {
	var wg sync.WaitGroup
	var sum uint64
	wg.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			atomic.AddUint64(&sum, uint64(i))
			wg.Done()
		}(i)
	}
	wg.Wait()
	return sum
}

func spawnAndReceive(n int) uint64 {
	c, sum := make(chan int, 1024), uint64(0)
	go func() {
		for i := 0; i < n; i++ {
			go func(i int) { c <- i }(i)
		}
	}()
	for i := 0; i < n; i++ {
		sum += uint64(<-c)
	}
	return sum
}

// pingPong: channels of capacity 0 or 1.
func pingPong(variant string, n int) {
	size := 0
	if variant == "cap1" {
		size = 1
	}
	r := roundsOf("ping_pong", variant, n, "ns/hop")
	r.each(func() float64 {
		there, back := make(chan uint64, size), make(chan uint64, size)
		go func() {
			for x := range there {
				back <- x + 1
			}
		}()
		start, x := time.Now(), uint64(0)
		for i := 0; i < n/2; i++ {
			there <- x
			x = <-back
		}
		ns := float64(time.Since(start)) / float64(n)
		close(there)
		expect(x == uint64(n/2), "one more at each return")
		return ns
	})
	r.report("")
}

// memPerTask: tasks that sleep an hour (sleep), or receive on channels of their own (pending).
func memPerTask(variant string, n int) {
	var begun int64
	r := roundsOf("mem_per_task", variant, n, "bytes/task")
	r.start()
	before := residentBytes()
	keep := make([]chan int, 0, n)
	for i := 0; i < n; i++ {
		if variant == "sleep" {
			go func() {
				atomic.AddInt64(&begun, 1)
				time.Sleep(time.Hour)
			}()
			continue
		}
		c := make(chan int)
		keep = append(keep, c)
		go func() {
			atomic.AddInt64(&begun, 1)
			<-c
		}()
	}
	for atomic.LoadInt64(&begun) < int64(n) {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	r.samples = []float64{(residentBytes() - before) / float64(n)}
	r.report("")
	runtime.KeepAlive(keep)
}

// timers: a goroutine for each (sleep), or time.AfterFunc (afterfunc).
func timers(variant string, n int) {
	late := make([]int, n)
	x := uint64(seed)
	var wg sync.WaitGroup
	wg.Add(n)
	r := roundsOf("timers", variant, n, "cpu_s")
	r.start()
	cpu, start := cpuSeconds(), time.Now()
	for i := 0; i < n; i++ {
		x = chain(x, 1)
		due := start.Add(time.Duration(1000000000 + x%1000000000))
		i := i
		fire := func() {
			after := time.Since(due)
			expect(after >= 0, "no timer fires early")
			late[i] = int(after / time.Microsecond)
			wg.Done()
		}
		if variant == "sleep" {
			go func() {
				time.Sleep(time.Until(due))
				fire()
			}()
		} else {
			time.AfterFunc(time.Until(due), fire)
		}
	}
	create := time.Since(start).Seconds()
	wg.Wait()
	wall := time.Since(start).Seconds()
	r.samples = []float64{cpuSeconds() - cpu}
	r.report(fmt.Sprintf(",\"create_s\":%.3f,\"wall_s\":%.3f,\"late_p50_us\":%d,\"late_p99_us\":%d",
		create, wall, at(late, 0.5), at(late, 0.99)))
}

func idleCpu(variant string, seconds int) {
	jobs, done := make(chan uint64), make(chan uint64)
	serveJobs(jobs, done, chainUs)
	r := roundsOf("idle_cpu", variant, seconds, "%")
	jobs <- 1
	expect(<-done == chain(1, chainUs), "the job's result")
	r.start()
	cpu := cpuSeconds()
	time.Sleep(time.Duration(seconds) * time.Second)
	r.samples = []float64{100 * (cpuSeconds() - cpu) / float64(seconds)}
	r.report("")
}
