// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

func serve(port int, connection func(net.Conn)) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go connection(c)
	}
}

func echo(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		if _, err = c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// compute runs each chunk of a heavy message in a goroutine.
func compute() uint64 {
	var wg sync.WaitGroup
	var sum uint64
	wg.Add(heavyChunks)
	for i := 0; i < heavyChunks; i++ {
		go func(i int) {
			atomic.AddUint64(&sum, chain(uint64(i)+1, chainHeavy/heavyChunks))
			wg.Done()
		}(i)
	}
	wg.Wait()
	return sum
}

func mixed(c net.Conn) {
	defer c.Close()
	buffer := make([]byte, message)
	for {
		if _, err := io.ReadFull(c, buffer); err != nil {
			return
		}
		if buffer[0] == 'H' {
			binary.LittleEndian.PutUint64(buffer[answerAt:], compute())
		}
		if _, err := c.Write(buffer); err != nil {
			return
		}
	}
}
