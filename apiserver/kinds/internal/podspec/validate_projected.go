package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver/kinds/internal/check"
)

// projected checks the sources of a projected volume, and that they make different files.
func (c *checker) projected(v *corev1.ProjectedVolumeSource, path *field.Path) {
	c.mode(v.DefaultMode, path.Child("defaultMode"))
	files := map[string]bool{}
	file := func(name, value string) {
		if files[name] && name != "" {
			c.Invalid(path, value, "conflicting duplicate paths")
		}
		files[name] = true
	}
	for i := range v.Sources {
		p := path.Child("sources").Index(i)
		if c.projection(&v.Sources[i], path, p, file) > 1 {
			c.Forbidden(p, "may not specify more than 1 volume type per source")
		}
	}
}

// projection checks one source at path p of a volume at path volume, and returns how many it is.
func (c *checker) projection(s *corev1.VolumeProjection, volume, p *field.Path, file func(name, value string)) int {
	n := 0
	if s.Secret != nil {
		n++
		c.projectedItems(s.Secret.Name, s.Secret.Items, p.Child("secret"), file)
	}
	if s.ConfigMap != nil {
		n++
		c.projectedItems(s.ConfigMap.Name, s.ConfigMap.Items, p.Child("configMap"), file)
	}
	if s.DownwardAPI != nil {
		n++
		for j := range s.DownwardAPI.Items {
			c.downwardFile(&s.DownwardAPI.Items[j], p.Child("downwardAPI"))
			file(s.DownwardAPI.Items[j].Path, s.DownwardAPI.Items[j].Path)
		}
	}
	if s.ServiceAccountToken != nil {
		n++
		c.token(s.ServiceAccountToken, volume, p.Child("serviceAccountToken"))
	}
	if s.ClusterTrustBundle != nil {
		n++
		c.trustBundle(s.ClusterTrustBundle, p.Child("clusterTrustBundle"))
		file(s.ClusterTrustBundle.Path, s.ClusterTrustBundle.Path)
	}
	if s.PodCertificate != nil {
		n++
		c.certificate(s.PodCertificate, p.Child("podCertificate"), file)
	}
	return n
}

func (c *checker) projectedItems(name string, items []corev1.KeyToPath, path *field.Path, file func(name, value string)) {
	c.needed(name, path.Child("name"))
	for i := range items {
		c.item(&items[i], path.Child("items").Index(i))
		file(items[i].Path, name)
	}
}

func (c *checker) token(t *corev1.ServiceAccountTokenProjection, volume, path *field.Path) {
	switch seconds := t.ExpirationSeconds; {
	case seconds == nil:
		c.Required(path.Child("expirationSeconds"), "")
	case *seconds < 10*60:
		c.Invalid(path.Child("expirationSeconds"), *seconds, "may not specify a duration less than 10 minutes")
	case *seconds > 1<<32:
		c.Invalid(path.Child("expirationSeconds"), *seconds, "may not specify a duration larger than 2^32 seconds")
	}
	if t.Path == "" {
		c.Required(volume.Child("path"), "")
		return
	}
	c.localPath(t.Path, volume.Child("path"))
}

func (c *checker) trustBundle(b *corev1.ClusterTrustBundleProjection, path *field.Path) {
	switch {
	case b.Name != nil && b.SignerName != nil:
		c.Invalid(path, b, "only one of name and signerName may be used")
	case b.Name == nil && b.SignerName == nil:
		c.Required(path, "either name or signerName must be specified")
	case b.Name != nil && *b.Name == "":
		c.Required(path.Child("name"), "must be a valid object name")
	case b.SignerName != nil && *b.SignerName == "":
		c.Required(path.Child("signerName"), "must be a valid signer name")
	}
	if b.Name != nil && b.SignerName == nil && b.LabelSelector != nil {
		c.Invalid(path.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified")
	}
	c.needed(b.Path, path.Child("path"))
	c.localPath(b.Path, path.Child("path"))
}

func (c *checker) certificate(p *corev1.PodCertificateProjection, path *field.Path, file func(name, value string)) {
	c.needed(p.SignerName, path.Child("signerName"))
	check.Supported(&c.List, path.Child("keyType"), p.KeyType, "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
	if s := p.MaxExpirationSeconds; s != nil && *s < 3600 {
		c.Invalid(path.Child("maxExpirationSeconds"), *s, "if provided, maxExpirationSeconds must be >= 3600")
	}
	n := 0
	for _, f := range []struct{ name, value string }{
		{"credentialBundlePath", p.CredentialBundlePath}, {"keyPath", p.KeyPath}, {"certificateChainPath", p.CertificateChainPath},
	} {
		if f.value != "" {
			n++
			c.localPath(f.value, path.Child(f.name))
			file(f.value, f.value)
		}
	}
	if n == 0 {
		c.Required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")
	}
}
