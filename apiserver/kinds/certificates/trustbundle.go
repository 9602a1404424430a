package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/inboard/inboard/apiserver"
	"github.com/inboard/inboard/apiserver/kinds/internal/check"
	"github.com/inboard/inboard/apiserver/kinds/internal/row"
)

// maxTrustBundle bounds a trust bundle, in bytes.
const maxTrustBundle = 1 << 20

// ClusterTrustBundle returns the row of ClusterTrustBundle.
func ClusterTrustBundle() apiserver.Kind {
	k := newKind("ClusterTrustBundle", "clustertrustbundles", "clustertrustbundle")
	k.Object, k.List = &certificatesv1.ClusterTrustBundle{}, &certificatesv1.ClusterTrustBundleList{}
	k.ConditionalUpdate = true
	k.NameIsValid = anyName // which names are right depends on the signer
	k.Validate = row.Check(validateTrustBundle)
	k.Fields = row.Fields(map[string]func(*certificatesv1.ClusterTrustBundle) string{
		"spec.signerName": func(o *certificatesv1.ClusterTrustBundle) string { return o.Spec.SignerName },
	})
	k.Columns = row.Columns("Name", "SignerName")
	k.Row = row.Cells(func(o *certificatesv1.ClusterTrustBundle, _ time.Time) []any {
		return []any{o.Name, row.None(o.Spec.SignerName)}
	})
	return k
}

func validateTrustBundle(o, old *certificatesv1.ClusterTrustBundle) field.ErrorList {
	var l check.List
	signer := o.Spec.SignerName
	if o.GenerateName != "" {
		l.Messages(field.NewPath("metadata", "generateName"), o.GenerateName, check.TrustBundleName(signer, o.GenerateName, true))
	}
	if o.Name != "" {
		l.Messages(field.NewPath("metadata", "name"), o.Name, check.TrustBundleName(signer, o.Name, false))
	}
	if signer != "" {
		l.Signer(specPath.Child("signerName"), signer)
	}
	if old == nil || old.Spec.TrustBundle != o.Spec.TrustBundle {
		anchors(&l, specPath.Child("trustBundle"), o.Spec.TrustBundle)
	}
	if old != nil {
		l.Add(apivalidation.ValidateImmutableField(signer, old.Spec.SignerName, specPath.Child("signerName"))...)
	}
	return l.Errors()
}

// anchors asks for certificates of authorities in PEM, each once.
func anchors(l *check.List, path *field.Path, text string) {
	if len(text) > maxTrustBundle {
		l.Add(field.TooLong(path, "", maxTrustBundle))
		return
	}
	places, wrong := map[string][]int{}, false
	block, rest := pem.Decode([]byte(text))
	for i := 0; block != nil; i++ {
		if problem := anchorProblem(block); problem != "" {
			l.Invalid(path, "<value omitted>", fmt.Sprintf("entry %d %s", i, problem))
			wrong = true
		} else {
			places[string(block.Bytes)] = append(places[string(block.Bytes)], i)
		}
		block, rest = pem.Decode(rest)
	}
	if wrong {
		return
	}
	if len(places) == 0 {
		l.Invalid(path, "<value omitted>", "at least one trust anchor must be provided")
	}
	for _, der := range slices.Sorted(maps.Keys(places)) {
		if len(places[der]) > 1 {
			l.Invalid(path, "<value omitted>", fmt.Sprintf("duplicate trust anchor (indices %v)", places[der]))
		}
	}
}

func anchorProblem(block *pem.Block) string {
	if block.Type != "CERTIFICATE" {
		return fmt.Sprintf("has bad block type: %v", block.Type)
	}
	if len(block.Headers) != 0 {
		return "has PEM block headers"
	}
	switch cert, err := x509.ParseCertificate(block.Bytes); {
	case err != nil:
		return "does not parse as X.509"
	case !cert.IsCA:
		return "does not have the CA bit set"
	case !cert.BasicConstraintsValid:
		return "has invalid basic constraints"
	}
	return ""
}
