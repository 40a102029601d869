package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones must not depend on what the machine has installed

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

func finishJob(i *inspection, j *batchv1.Job) { i.job([]any{"spec"}, &j.Spec) }

func finishCronJob(i *inspection, j *batchv1.CronJob) {
	zone := ""
	if j.Spec.TimeZone != nil {
		zone = *j.Spec.TimeZone
	}
	i.schedule([]any{"spec"}, j.Spec.Schedule, zone)
	i.job([]any{"spec", "jobTemplate", "spec"}, &j.Spec.JobTemplate.Spec)
}

// schedule checks a cron schedule and its time zone.
func (i *inspection) schedule(at []any, schedule, zone string) {
	if strings.Contains(schedule, "TZ=") {
		i.fail(under(at, "schedule"), "%q names a time zone: write it as timeZone", schedule)
	} else if _, err := cron.ParseStandard(schedule); err != nil {
		i.fail(under(at, "schedule"), "%q is not a schedule: %v", schedule, err)
	}
	if zone == "" {
		return
	}
	if _, err := time.LoadLocation(zone); err != nil || strings.EqualFold(zone, "Local") {
		i.fail(under(at, "timeZone"), "%q is not a time zone such as Europe/Berlin", zone)
	}
}

func (i *inspection) job(at []any, j *batchv1.JobSpec) {
	defaultJob(j)
	pod := under(at, "template", "spec")
	defaultPodSpec(&j.Template.Spec)
	i.podSpec(pod, &j.Template.Spec, nil)
	if j.Template.Spec.RestartPolicy == corev1.RestartPolicyAlways {
		i.fail(under(pod, "restartPolicy"), "must be OnFailure or Never: the pods of a job run to their end")
	}
	indexed := j.CompletionMode != nil && *j.CompletionMode == batchv1.IndexedCompletion
	switch {
	case indexed && j.Completions == nil:
		i.fail(under(at, "completions"), "is required where completionMode is Indexed")
	case !indexed && j.SuccessPolicy != nil:
		i.fail(under(at, "successPolicy"), "may be set only where completionMode is Indexed")
	case !indexed && j.BackoffLimitPerIndex != nil:
		i.fail(under(at, "backoffLimitPerIndex"), "may be set only where completionMode is Indexed")
	}
	if j.MaxFailedIndexes != nil && j.BackoffLimitPerIndex == nil {
		i.fail(under(at, "maxFailedIndexes"), "may be set only beside backoffLimitPerIndex")
	}
	if p := j.PodFailurePolicy; p != nil {
		i.failurePolicy(at, j, p)
	}
	if p := j.SuccessPolicy; p != nil && indexed && j.Completions != nil {
		for n, r := range p.Rules {
			i.successRule(under(at, "successPolicy", "rules", n), r, *j.Completions)
		}
	}
}

func (i *inspection) failurePolicy(at []any, j *batchv1.JobSpec, p *batchv1.PodFailurePolicy) {
	if j.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		i.fail(under(at, "podFailurePolicy"), "may be set only where the pod's restartPolicy is Never")
	}
	names := map[string]bool{}
	for _, c := range j.Template.Spec.Containers {
		names[c.Name] = true
	}
	for _, c := range j.Template.Spec.InitContainers {
		names[c.Name] = true
	}
	for n, r := range p.Rules {
		here := under(at, "podFailurePolicy", "rules", n)
		if r.Action == batchv1.PodFailurePolicyActionFailIndex && j.BackoffLimitPerIndex == nil {
			i.fail(under(here, "action"), "\"FailIndex\" may be set only beside backoffLimitPerIndex")
		}
		if c := r.OnExitCodes; c != nil {
			if c.ContainerName != nil && !names[*c.ContainerName] {
				i.fail(under(here, "onExitCodes", "containerName"), "%q is not a container of the pod", *c.ContainerName)
			}
			for k, v := range c.Values {
				if v == 0 && c.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn {
					i.fail(under(here, "onExitCodes", "values", k), "is 0, which is no failure")
				}
			}
		}
	}
}

func (i *inspection) successRule(at []any, r batchv1.SuccessPolicyRule, completions int32) {
	if r.SucceededIndexes == nil && r.SucceededCount == nil {
		i.fail(at, "needs succeededIndexes or succeededCount")
	}
	if r.SucceededCount != nil && *r.SucceededCount > completions {
		i.fail(under(at, "succeededCount"), "%d is more than completions, %d", *r.SucceededCount, completions)
	}
	if r.SucceededIndexes == nil {
		return
	}
	if err := checkIndexes(*r.SucceededIndexes, completions); err != nil {
		i.fail(under(at, "succeededIndexes"), "%v", err)
	}
}

// checkIndexes reads a set such as 1,3-5,7: in order, and below completions.
func checkIndexes(set string, completions int32) error {
	last := int64(-1)
	for _, part := range strings.Split(set, ",") {
		from, to, span := strings.Cut(part, "-")
		if !span {
			to = from
		}
		low, err := strconv.ParseInt(from, 10, 32)
		high, err2 := strconv.ParseInt(to, 10, 32)
		switch {
		case err != nil || err2 != nil:
			return fmt.Errorf("%q holds no index", part)
		case low <= last || high < low:
			return fmt.Errorf("%q is not in order", part)
		case high >= int64(completions):
			return fmt.Errorf("%q is not below completions, %d", part, completions)
		}
		last = high
	}
	return nil
}
