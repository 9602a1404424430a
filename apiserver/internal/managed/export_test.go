package managed

import "github.com/inboard/inboard/apiserver/client"

// Plain is Update by the library alone.
func (m *Manager) Plain(live, obj client.Object, manager string) error {
	f, err := m.fields()
	if err != nil {
		return err
	}
	_, err = f.Update(live, obj, manager)
	return err
}

// Quick tells whether Update can do without the library, and does so.
func (m *Manager) Quick(live, obj client.Object, manager string) bool {
	return m.quick(live, obj, manager)
}

// PlanError tells why the kind is left to the library.
func (m *Manager) PlanError() error { _, err := m.plan(); return err }
