// Package evaluator does in a child process what may cost any amount of time and memory: the evaluation of CUE packages
// and of kustomizations. A child that passes its limits is killed, what it was at is reported, and another one goes on.
package evaluator
