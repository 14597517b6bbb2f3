package redispubsub

// Kill ends what a Broker does as the end of its process would. Other brokers are not told.
func (b *Broker) Kill() {
	b.end()
	b.mu.Lock()
	_ = b.link.Close()
	b.mu.Unlock()
	b.work.Wait()
}
