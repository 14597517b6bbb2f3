package natsserver

// HasClientPort reports whether the server listens for clients of NATS.
func (s *Server) HasClientPort() bool { return s.running.Addr() != nil }
