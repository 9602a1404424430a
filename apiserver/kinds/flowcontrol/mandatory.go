package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/utils/ptr"
)

// The names of the objects whose spec Kubernetes fixes.
const (
	exempt   = "exempt"
	catchAll = "catch-all"
)

// fixedSchemas are the specs of the schemas that every cluster has.
func fixedSchemas() map[string]flowcontrolv1.FlowSchemaSpec {
	all := []string{"*"}
	everything := func(groups ...string) []flowcontrolv1.PolicyRulesWithSubjects {
		r := flowcontrolv1.PolicyRulesWithSubjects{
			ResourceRules: []flowcontrolv1.ResourcePolicyRule{
				{Verbs: all, APIGroups: all, Resources: all, ClusterScope: true, Namespaces: all},
			},
			NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: all, NonResourceURLs: all}},
		}
		for _, g := range groups {
			r.Subjects = append(r.Subjects, flowcontrolv1.Subject{
				Kind: flowcontrolv1.SubjectKindGroup, Group: &flowcontrolv1.GroupSubject{Name: g},
			})
		}
		return []flowcontrolv1.PolicyRulesWithSubjects{r}
	}
	return map[string]flowcontrolv1.FlowSchemaSpec{
		exempt: {
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: exempt},
			MatchingPrecedence:         1,
			Rules:                      everything("system:masters"),
		},
		catchAll: {
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: catchAll},
			MatchingPrecedence:         maxPrecedence,
			DistinguisherMethod:        &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType},
			Rules:                      everything("system:unauthenticated", "system:authenticated"),
		},
	}
}

// fixedLevels are the specs of the levels that every cluster has.
func fixedLevels() map[string]flowcontrolv1.PriorityLevelConfigurationSpec {
	return map[string]flowcontrolv1.PriorityLevelConfigurationSpec{
		exempt: {
			Type:   flowcontrolv1.PriorityLevelEnablementExempt,
			Exempt: &flowcontrolv1.ExemptPriorityLevelConfiguration{NominalConcurrencyShares: ptr.To[int32](0), LendablePercent: ptr.To[int32](0)},
		},
		catchAll: {
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: ptr.To[int32](5), LendablePercent: ptr.To[int32](0),
				LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
			},
		},
	}
}
