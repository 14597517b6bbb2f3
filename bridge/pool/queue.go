package pool

import "slices"

// queue is a first-in, first-out list of waiting exchanges.
type queue struct {
	list []*exchange
	head int
}

func (q *queue) len() int { return len(q.list) - q.head }

func (q *queue) peek() *exchange {
	if q.len() == 0 {
		return nil
	}
	return q.list[q.head]
}

func (q *queue) push(x *exchange) {
	if q.head > 0 && len(q.list) == cap(q.list) {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, x)
}

func (q *queue) pushFront(x *exchange) {
	if q.head == 0 {
		grown := make([]*exchange, len(q.list)+8, 2*len(q.list)+16)
		copy(grown[8:], q.list)
		q.list, q.head = grown, 8
	}
	q.head--
	q.list[q.head] = x
}

func (q *queue) pop() *exchange {
	x := q.peek()
	if x != nil {
		q.list[q.head] = nil
		if q.head++; q.head == len(q.list) {
			q.list, q.head = q.list[:0], 0
		}
	}
	return x
}

func (q *queue) each(f func(*exchange)) {
	for _, x := range q.list[q.head:] {
		f(x)
	}
}

// removeIf takes out the exchanges for which condition holds, and returns them in order.
func (q *queue) removeIf(condition func(*exchange) bool) (removed []*exchange) {
	kept := slices.DeleteFunc(q.list[q.head:], func(x *exchange) bool {
		if !condition(x) {
			return false
		}
		x.queued = false
		removed = append(removed, x)
		return true
	})
	q.list = q.list[:q.head+len(kept)]
	return removed
}

func (q *queue) takeAll() []*exchange {
	return q.removeIf(func(*exchange) bool { return true })
}
