package aggregate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/client"
)

// Trust is what other servers read in the ConfigMap kube-system/extension-apiserver-authentication, by default: which
// authorities sign users' certificates, and whose word about users they take. Each server of a cluster adds its own.
type Trust struct {
	// ClientCA has the authorities of users' certificates, in PEM.
	ClientCA []byte
	// RequestHeader tells how to know servers that pass requests on; nil tells nothing.
	RequestHeader *apiserver.RequestHeader
}

// The ConfigMap and its keys.
const (
	trustName = "extension-apiserver-authentication"
	trustKey  = "/registry/core/configmaps/" + metav1.NamespaceSystem + "/" + trustName

	keyClientCA      = "client-ca-file"
	keyHeaderCA      = "requestheader-client-ca-file"
	keyAllowedNames  = "requestheader-allowed-names"
	keyUserHeaders   = "requestheader-username-headers"
	keyUIDHeaders    = "requestheader-uid-headers"
	keyGroupHeaders  = "requestheader-group-headers"
	keyExtraPrefixes = "requestheader-extra-headers-prefix"
)

var configMapsResource = corev1.SchemeGroupVersion.WithResource("configmaps")

// keepTrust writes the ConfigMap, if it lacks something.
func (k *keeper) keepTrust(ctx context.Context) error {
	if len(k.cfg.Trust.ClientCA) == 0 && k.cfg.Trust.RequestHeader == nil {
		return nil
	}
	ref := client.Ref{GroupVersionResource: configMapsResource, Namespace: metav1.NamespaceSystem, Name: trustName}
	maps := client.For[*corev1.ConfigMap](k.client)
	old, err := maps.Get(ctx, ref.Namespace, ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}
		if m.Data, err = k.cfg.Trust.data(nil, time.Now()); err == nil {
			ref.Name = ""
			_, err = k.client.Create(ctx, ref, m, metav1.CreateOptions{})
		}
		if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) { // another server's, or there are no ConfigMaps
			return nil
		}
		return err
	case err != nil:
		return err
	}
	data, err := k.cfg.Trust.data(old.Data, time.Now())
	if err != nil || apiequality.Semantic.DeepEqual(data, old.Data) {
		return err
	}
	old.Data = data
	_, err = k.client.Update(ctx, ref, old, metav1.UpdateOptions{})
	return err
}

// data returns what the ConfigMap is to hold, given what it holds.
func (t *Trust) data(old map[string]string, now time.Time) (map[string]string, error) {
	out := map[string]string{}
	if ca := joinPEM(old[keyClientCA], t.ClientCA, now); ca != "" {
		out[keyClientCA] = ca
	}
	h := t.RequestHeader
	if h == nil {
		h = &apiserver.RequestHeader{}
	}
	ca := joinPEM(old[keyHeaderCA], h.CA, now)
	if ca == "" {
		return out, nil
	}
	out[keyHeaderCA] = ca
	d := h.WithDefaults()
	for key, own := range map[string][]string{
		keyAllowedNames: d.AllowedNames, keyUserHeaders: d.UsernameHeaders, keyUIDHeaders: d.UIDHeaders,
		keyGroupHeaders: d.GroupHeaders, keyExtraPrefixes: d.ExtraHeaderPrefixes,
	} {
		list, err := joinNames(old[key], own)
		if err != nil {
			return nil, fmt.Errorf("the ConfigMap %s/%s has a wrong %s: %w", metav1.NamespaceSystem, trustName, key, err)
		}
		out[key] = list
	}
	return out, nil
}

// joinNames adds names to a list in JSON.
func joinNames(old string, own []string) (string, error) {
	list := []string{}
	if old != "" {
		if err := json.Unmarshal([]byte(old), &list); err != nil {
			return "", err
		}
	}
	for _, name := range own {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	b, err := json.Marshal(list)
	return string(b), err
}

// joinPEM adds certificates to those in a text, each once, without those that have expired.
func joinPEM(old string, own []byte, now time.Time) string {
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, text := range [][]byte{[]byte(old), own} {
		for {
			var block *pem.Block
			if block, text = pem.Decode(text); block == nil {
				break
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if block.Type != "CERTIFICATE" || err != nil || now.After(cert.NotAfter) || seen[string(cert.Raw)] {
				continue
			}
			seen[string(cert.Raw)] = true
			_ = pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // into memory
		}
	}
	return out.String()
}
