// Package isolation computes what network policies let through: from policies, the labels of namespaces, and pods with
// their labels and addresses, to what may come to each pod and what may go out from it.
//
// It is a pure function, and its result has one form only: each address leads to the ports that all policies together
// open for it, whatever rules they are written as. So two sets of policies that mean the same give the same table, and the
// kernel looks an address up once instead of trying one rule after the other.
package isolation
