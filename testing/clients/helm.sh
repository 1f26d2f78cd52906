#!/usr/bin/env bash
# A release's life with helm: install with hooks and custom resources, upgrade, rollback, test, uninstall.
#
# Needs KUBECONFIG and the image busybox:test on the node.
cd "$(dirname "$0")"
. ./steps.sh
h() { helm --namespace helm "$@"; }
k() { kubectl --namespace helm "$@"; }

# A hook is a pod, and a pod needs its namespace's account.
ok 'created' kubectl create namespace helm
ok 'condition met' k wait --for=create serviceaccount/default --timeout=180s
ok 'STATUS: deployed' h install boat chart --wait --timeout=180s
ok 'blue' k get boats.clients.coracle.test boat -o 'jsonpath={.spec.colour}'
ok 'blue 1' k get configmap boat-settings -o 'jsonpath={.data.colour} {.data.revision}'
# Hooks ran in their order: one is gone after it succeeded, the other stays.
ok '' k wait --for=delete pod/boat-pre-install --timeout=180s
refused 'NotFound' k get pod boat-pre-install
ok 'post-install ran' k logs boat-post-install
ok 'Succeeded' k get pod boat-post-install -o 'jsonpath={.status.phase}'
refused 'cannot' h install boat chart
ok 'STATUS: deployed' h upgrade boat chart --set colour=green --set replicas=2 --wait --timeout=180s
ok 'green 2' k get configmap boat-settings -o 'jsonpath={.data.colour} {.data.revision}'
eventually '2' k get deployment boat -o 'jsonpath={.status.availableReplicas}'
ok 'pre-upgrade ran' k logs boat-pre-upgrade
ok 'Rollback was a success' h rollback boat 1 --wait --timeout=180s
ok 'blue' k get boats.clients.coracle.test boat -o 'jsonpath={.spec.colour}'
ok 'blue' k get deployment boat -o 'jsonpath={.spec.template.metadata.annotations.colour}'
ok 'Rollback to 1' h history boat
ok '"version":3' h status boat -o json
ok 'Phase:' h test boat --timeout=180s
ok 'STATUS: deployed' h upgrade --install boat chart --wait --timeout=180s
ok 'boat' h list
ok 'colour: blue' h get manifest boat
ok 'uninstalled' h uninstall boat --wait --timeout=180s
ok 'No resources found' k get deployments,services,boats.clients.coracle.test
ok 'post-delete ran' k logs boat-post-delete
ok 'boats.clients.coracle.test' kubectl get crd boats.clients.coracle.test
ok 'STATUS: deployed' helm --namespace helm-made install raft chart --create-namespace --no-hooks
ok 'deleted' kubectl delete namespace helm-made --timeout=180s
ok 'deleted' kubectl delete crd boats.clients.coracle.test
ok 'deleted' kubectl delete namespace helm --timeout=180s
