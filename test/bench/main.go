//go:build linux

// Command bench compares the proxy with a plain httputil.ReverseProxy in front of the same stand-in, in one run, and
// prints ratios. Backend, ReverseProxy and proxy are a process each; their rounds take turns; what counts is the median
// of the rounds' ratios. Usage: bench [-write docs/performance.md] [-rounds N] PATH-OF-CODEX-PROXY
//
// With -peers it measures other programs of this kind instead, beside the same two.
//
// With -transports it compares two ways to the backend instead, POST and WebSocket, and needs no proxy.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "-backend":
			backend(slices.Contains(os.Args, "tls"), slices.Contains(os.Args, "unpacked"))
			return
		case "-reverse-proxy":
			reverseProxy(os.Args[2])
			return
		}
	}
	write := flag.String("write", "", "put the tables between the marks of this file")
	rounds := flag.Int("rounds", 5, "of each measurement")
	only := flag.String("only", "", "tls or plain")
	compare := flag.Bool("transports", false, "compare POST with WebSocket to the backend, without the proxy, and nothing else")
	others := flag.Bool("peers", false, "measure other programs of this kind, installed from their registry, and nothing else")
	flag.Parse()
	if *compare {
		if err := transports(*rounds); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: bench [-write docs/performance.md] [-rounds N] [-only tls|plain | -peers] PATH-OF-CODEX-PROXY")
		os.Exit(2)
	}
	var err error
	if *others {
		err = comparePeers(flag.Arg(0), *write, *rounds)
	} else {
		err = bench(flag.Arg(0), *write, *only, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
