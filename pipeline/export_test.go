package pipeline

// Busy reports whether a pipeline counts as what this node is busy with, when other nodes ask for its time.
func (m *Manager) Busy(name string) bool {
	m.desk.mu.Lock()
	defer m.desk.mu.Unlock()
	return m.desk.own[name]
}
