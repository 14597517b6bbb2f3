package pubsub

// ChannelCount returns how many channels a Memory has.
func ChannelCount(b *Memory) int {
	_ = b.open()
	if n := len(b.every("")); n != int(b.channels.Load()) {
		panic("the number of channels is wrong")
	}
	return len(b.every(""))
}

// KeptBytes returns how many bytes the channels of a Memory keep.
func KeptBytes(b *Memory) (bytes int) {
	for i := range b.shards {
		bytes += b.shards[i].bytes
	}
	return bytes
}
