package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints the medians of the turns, and compares the servers.
func (b *bench) report() {
	fmt.Fprintf(b.out, "%d users, %d grants, %d connections, %d rounds of %s each; %s/%s, %d CPUs for servers, Postgres and this client\n\n",
		b.users, b.grants, b.connections, b.rounds, b.duration, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	table := tabwriter.NewWriter(b.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\treq/s\tp50 ms\tp99 ms\tCPU µs a request: server\tPostgres\t")
	for _, s := range b.servers {
		fmt.Fprintf(table, "%s\t%.0f\t%.1f\t%.1f\t%s\t%s\t\n", s.name,
			median(s.turns, turn.rate),
			median(s.turns, func(t turn) float64 { return milliseconds(t.latencies, 0.50) }),
			median(s.turns, func(t turn) float64 { return milliseconds(t.latencies, 0.99) }),
			perRequest(s.turns, func(t turn) time.Duration { return t.serverCPU }),
			perRequest(s.turns, func(t turn) time.Duration { return t.postgresCPU }))
	}
	_ = table.Flush() // errors of writing to b.out are ignored everywhere
	fmt.Fprintln(b.out)
	for _, other := range b.servers {
		b.compare(usherServer, other)
	}
}

// compare prints the ratio of two servers' rates. It is computed within each round, because
// other programs on the machine slow down both in that round.
func (b *bench) compare(name string, other *server) {
	i := slices.IndexFunc(b.servers, func(s *server) bool { return s.name == name })
	if i < 0 || other.name == name {
		return
	}
	ratios := make([]float64, b.rounds)
	for n := range ratios {
		ratios[n] = b.servers[i].turns[n].rate() / other.turns[n].rate()
	}
	slices.Sort(ratios)
	fmt.Fprintf(b.out, "%s / %s: %.2f (%.2f to %.2f)\n", name, other.name, middle(ratios), ratios[0], ratios[len(ratios)-1])
}

func median[T any](of []T, value func(T) float64) float64 {
	values := make([]float64, len(of))
	for i, v := range of {
		values[i] = value(v)
	}
	slices.Sort(values)
	return middle(values)
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func milliseconds(sorted []time.Duration, quantile float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(quantile*float64(len(sorted)-1))]) / float64(time.Millisecond)
}

func perRequest(turns []turn, cpu func(turn) time.Duration) string {
	if slices.ContainsFunc(turns, func(t turn) bool { return !t.cpuKnown || len(t.latencies) == 0 }) {
		return "-"
	}
	return fmt.Sprintf("%.0f", median(turns, func(t turn) float64 {
		return float64(cpu(t).Microseconds()) / float64(len(t.latencies))
	}))
}

// cpuOf returns the CPU time of a process and its children, including those that have
// ended. Only Linux reports it (proc_pid_stat(5)).
func cpuOf(pid int) (sum time.Duration, known bool) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, false
	}
	for _, name := range stats {
		content, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The name in parentheses may contain anything. After it come the state, the
		// parent, and as fields 12 to 15 utime, stime, cutime and cstime.
		self := filepath.Base(filepath.Dir(name))
		fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
		if len(fields) < 15 || self != strconv.Itoa(pid) && fields[1] != strconv.Itoa(pid) {
			continue
		}
		for _, field := range fields[11:15] {
			ticks, err := strconv.Atoi(field)
			if err != nil {
				return 0, false
			}
			sum += time.Duration(ticks) * (time.Second / 100) // USER_HZ
			known = true
		}
	}
	return sum, known
}
