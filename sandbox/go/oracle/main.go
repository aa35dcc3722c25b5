// Copyright (c) 2026, Airgap Speech contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The oracle: what the real scheduler does with the pods of a manifest in a cluster.
//
//	oracle             reads cases from stdin and writes results to stdout, one JSON object a line
//	oracle quantities  reads JSON strings from stdin and writes what Go's parser makes of each
//
// The scheduler is k8s.io/kubernetes/pkg/scheduler with its default profile, on client-go's fake clientset. What the
// API server does to a pod before (defaults, admission, strategy, validation) is called from its own packages.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"testing"

	"k8s.io/klog/v2"
)

func main() {
	klog.SetOutput(discard{})
	klog.LogToStderr(false)
	// The first call of this begins a goroutine that never ends, which must not happen inside a bubble.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR2)
	debug.SetGCPercent(400) // Many short-lived objects, and a small heap.
	mode := ""
	if len(os.Args) > 1 {
		mode = os.Args[1]
		os.Args = os.Args[:1]
	}
	switch mode {
	case "quantities":
		stop(eachLine(parseQuantity))
	case "":
		// A bubble of testing/synctest, with a clock of its own, wants a test around it.
		testing.Init()
		testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{
			Name: "oracle",
			F:    func(t *testing.T) { stop(eachLine(func(line []byte) any { return answer(t, line) })) },
		}}, nil, nil)
	default:
		stop(fmt.Errorf("oracle: %q is no mode: give none, or quantities", mode))
	}
}

type discard struct{}

func (discard) Write(data []byte) (int, error) { return len(data), nil }

func stop(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// eachLine answers each line of stdin with one line on stdout, at once.
func eachLine(answer func(line []byte) any) error {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	for {
		line, err := input.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return nil
		}
		if err := encoder.Encode(answer(line)); err != nil {
			return err
		}
		if input.Buffered() == 0 {
			if err := output.Flush(); err != nil {
				return err
			}
		}
	}
}
