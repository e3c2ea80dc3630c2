package db

import (
	"slices"
	"sync"
)

// A batcher gathers what waits, so that one statement serves many callers:
// while its workers are busy, items queue up, and whoever is free takes all of
// them. It has no goroutine while nothing waits, and needs no closing. Its
// callers bound how many items may wait.
type batcher[T any] struct {
	do      func(batch []T)
	most    int // items in a batch
	workers int // batches at a time

	mu      sync.Mutex
	waiting []T
	running int
}

func (b *batcher[T]) add(item T) {
	b.mu.Lock()
	b.waiting = append(b.waiting, item)
	free := b.running < b.workers
	if free {
		b.running++
	}
	b.mu.Unlock()
	if free {
		go b.run()
	}
}

func (b *batcher[T]) run() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), b.most)
		if n == 0 {
			b.running--
			b.mu.Unlock()
			return
		}
		batch := slices.Clone(b.waiting[:n])
		b.waiting = slices.Delete(b.waiting, 0, n)
		b.mu.Unlock()
		b.do(batch)
	}
}
