package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
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
	case b.Name != nil:
		c.trustBundleName(*b.Name, path.Child("name"))
		if b.LabelSelector != nil {
			c.Invalid(path.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified")
		}
	case b.SignerName != nil:
		if *b.SignerName == "" {
			c.Required(path.Child("signerName"), "must be a valid signer name")
		}
		c.Signer(path.Child("signerName"), *b.SignerName)
		c.Add(metavalidation.ValidateLabelSelector(b.LabelSelector, metavalidation.LabelSelectorValidationOptions{}, path.Child("labelSelector"))...)
	default:
		c.Required(path, "either name or signerName must be specified")
	}
	c.needed(b.Path, path.Child("path"))
	c.localPath(b.Path, path.Child("path"))
}

// trustBundleName asks for the name of a ClusterTrustBundle; that of a signer tells the signer up to its last colon.
func (c *checker) trustBundleName(name string, path *field.Path) {
	if name == "" {
		c.Required(path, "must be a valid object name")
	}
	signer := ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		signer = strings.ReplaceAll(name[:i], ":", "/")
	}
	for _, m := range check.TrustBundleName(signer, name, false) {
		c.Invalid(path, name, "not a valid clustertrustbundlename: "+m)
	}
}

// Bounds of the life of a pod's certificate, in seconds.
const (
	shortestCertificate          = 60 * 60
	longestCertificate           = 91 * 24 * 60 * 60
	longestKubernetesCertificate = 24 * 60 * 60
)

func (c *checker) certificate(p *corev1.PodCertificateProjection, path *field.Path, file func(name, value string)) {
	c.Signer(path.Child("signerName"), p.SignerName)
	if p.UserAnnotations != nil {
		c.SignerAnnotations(path.Child("userAnnotations"), p.UserAnnotations)
	}
	check.Supported(&c.List, path.Child("keyType"), p.KeyType, "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
	if s := p.MaxExpirationSeconds; s != nil {
		longest := int32(longestCertificate)
		if check.IsKubernetesSigner(p.SignerName) {
			longest = longestKubernetesCertificate
		}
		if *s < shortestCertificate {
			c.Invalid(path.Child("maxExpirationSeconds"), *s, "if provided, maxExpirationSeconds must be >= 3600")
		}
		if *s > longest {
			c.Invalid(path.Child("maxExpirationSeconds"), *s, fmt.Sprintf("if provided, maxExpirationSeconds must be <= %d", longest))
		}
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
