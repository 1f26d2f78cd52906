#!/usr/bin/env bash
# Every command of `kubectl --help` at least once, each with what it must say. The last step compares the commands that
# were run with those that this kubectl lists.
#
# Needs KUBECONFIG, an empty directory as argument, and the image busybox:test on the node.
cd "$(dirname "$0")"
. ./steps.sh
work=$1
used=$work/used
# Word splitting and one namespace of its own; every command that is run is written down.
k() { echo "$1" >>"$used"; kubectl "$@"; }
n() { echo "$1" >>"$used"; kubectl -n clients "$@"; }
pods() { kubectl -n clients get pods -o name; }

# Basic commands.
ok 'namespace/clients created' k create namespace clients
ok 'condition met' n wait --for=create serviceaccount/default --timeout=180s
ok 'Server Version: v1.36' k version
ok 'deployment.apps/web created' n create deployment web --image=busybox:test --port=8080 -- httpd -f -p 8080 -h /etc
ok 'configmap/c created' n create configmap c --from-literal=a=b
ok 'secret/s created' n create secret generic s --from-literal=a=b
ok 'serviceaccount/robot created' n create serviceaccount robot
ok 'role.rbac.authorization.k8s.io/reads created' n create role reads --verb=get,list --resource=pods
ok 'rolebinding.rbac.authorization.k8s.io/reads created' n create rolebinding reads --role=reads --serviceaccount=clients:robot
ok 'poddisruptionbudget.policy/web created' n create poddisruptionbudget web --selector=app=none --min-available=1
ok 'ingress.networking.k8s.io/web created' n create ingress web --class=nginx --rule=web.test/*=web:80
ok 'job.batch/once created' n create job once --image=busybox:test -- true
ok 'cronjob.batch/nightly created' n create cronjob nightly --image=busybox:test '--schedule=0 3 * * *' -- true
ok 'priorityclass.scheduling.k8s.io/clients-high created' k create priorityclass clients-high --value=1000
ok 'resourcequota/q created' n create quota q --hard=configmaps=50
ok 'ey' n create token robot --duration=1h
cat >"$work/token.yaml" <<'EOF'
apiVersion: v1
kind: Secret
metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
EOF
ok 'secret/robot-token created' n apply -f "$work/token.yaml"
ok 'condition met' n wait '--for=jsonpath={.data.token}' secret/robot-token --timeout=180s
ok 'ca.crt:' n describe secret robot-token
robot=$(kubectl -n clients get secret robot-token -o 'jsonpath={.data.token}' | base64 -d)
server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
as_robot=(--kubeconfig=/dev/null "--server=$server" --insecure-skip-tls-verify "--token=$robot")
ok 'system:serviceaccount:clients:robot' kubectl "${as_robot[@]}" auth whoami
ok 'service/web exposed' n expose deployment web --port=80 --target-port=8080
ok 'pod/one created' n run one --image=busybox:test --labels=app=one --command -- sh -c 'echo hello; exec sleep 3600'
refused 'pods "one" already exists' n run one --image=busybox:test
ok 'image updated' n set image deployment/web busybox=busybox:other --dry-run=server
ok 'env updated' n set env deployment/web COLOUR=blue
ok 'resource requirements updated' n set resources deployment/web --requests=cpu=5m
ok 'serviceaccount updated' n set serviceaccount deployment/web robot
ok 'selector updated' n set selector service/web app=web
ok 'subjects updated' n set subject rolebinding/reads --serviceaccount=clients:default
ok 'COLOUR=blue' n set env deployment/web --list
ok 'Number of desired pods' k explain deployment.spec.replicas
ok 'FIELDS:' k explain pods --recursive
ok 'condition met' n wait --for=condition=Ready pod/one --timeout=180s
ok 'Running' n get pod one
ok '"kind": "Pod"' n get pod one -o json
ok '10.42.' n get pod one -o wide
ok 'one   true' n get pod one -o 'custom-columns=N:.metadata.name,R:.status.containerStatuses[0].ready' --no-headers
refused 'Error from server (NotFound): pods "nothing" not found' n get pod nothing
refused "the server doesn't have a resource type \"nothings\"" n get nothings
printf '#!/bin/sh\nsed -i "s/  a: b/  a: edited/" "$1"\n' >"$work/editor"
chmod +x "$work/editor"
KUBE_EDITOR=$work/editor ok 'configmap/c edited' n edit configmap c
ok 'edited' n get configmap c -o 'jsonpath={.data.a}'

# Deploy commands.
ok 'successfully rolled out' n rollout status deployment/web --timeout=180s
ok 'restarted' n rollout restart deployment/web
ok 'successfully rolled out' n rollout status deployment/web --timeout=180s
ok 'REVISION' n rollout history deployment/web
ok 'paused' n rollout pause deployment/web
ok 'resumed' n rollout resume deployment/web
ok 'rolled back' n rollout undo deployment/web
ok 'scaled' n scale deployment/web --replicas=2
refused 'xpected replicas to be 7' n scale deployment/web --current-replicas=7 --replicas=3
ok 'successfully rolled out' n rollout status deployment/web --timeout=180s
ok 'autoscaled' n autoscale deployment/web --min=1 --max=3
ok 'Deployment/web' n get hpa web

# Cluster management.
ok 'is running at' k cluster-info
ok '"kind": "NodeList"' k cluster-info dump --namespaces=clients
refused 'Metrics API not available' k top nodes
refused 'Metrics API not available' n top pods
node=$(kubectl get nodes -o 'jsonpath={.items[0].metadata.name}')
ok 'control-plane' k get nodes
ok 'cordoned' k cordon "$node"
ok 'condition met' k wait --for='jsonpath={.spec.taints[0].key}=node.kubernetes.io/unschedulable' "node/$node" --timeout=180s
ok 'SchedulingDisabled' k get node "$node"
ok 'uncordoned' k uncordon "$node"
ok 'tainted' k taint node "$node" clients/test=x:PreferNoSchedule
ok 'untainted' k taint node "$node" clients/test-
refused 'cannot delete' k drain "$node" --pod-selector=app=one --timeout=180s
ok 'drained' k drain "$node" --pod-selector=app=one --force --grace-period=1 --timeout=180s
ok 'uncordoned' k uncordon "$node"
ok 'pod/one created' n run one --image=busybox:test --labels=app=one --command -- sh -c 'echo hello; exec sleep 3600'
ok 'condition met' n wait --for=condition=Ready pod/one --timeout=180s
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/jane.key" -subj /CN=jane -out "$work/jane.csr" 2>/dev/null
csr() {
    cat <<EOF
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: $1}
spec: {request: $(base64 -w0 "$work/jane.csr"), signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}
EOF
}
csr jane >"$work/jane.yaml"
csr mallory >"$work/mallory.yaml"
ok 'created' k create -f "$work/jane.yaml" -f "$work/mallory.yaml"
ok 'approved' k certificate approve jane
ok 'denied' k certificate deny mallory
ok 'Approved' k get csr jane
ok 'Denied' k get csr mallory

# Troubleshooting and debugging.
ok 'Image:' n describe pod one
ok 'StrategyType' n describe deployment web
ok 'Capacity:' k describe node "$node"
eventually 'Successfully assigned' n describe pod one
eventually 'hello' n logs one
ok 'hello' n logs -l app=one --tail=1 --timestamps
ok 'through' n exec one -- echo through
refused 'exit code 7' n exec one -- sh -c 'exit 7'
ok 'pod/echo created' n run echo --image=busybox:test --stdin --attach=false --command -- cat
ok 'condition met' n wait --for=condition=Ready pod/echo --timeout=180s
said=$(echo 'attached input' | { echo attach >>"$used"; timeout 180 kubectl -n clients attach -i echo 2>&1; })
[[ $said == *'attached input'* ]] || fail 'kubectl attach -i echo' "$said"
echo 'copied' >"$work/there"
ok '' n cp "$work/there" one:/tmp/there
ok '' n cp one:/tmp/there "$work/back"
[ "$(cat "$work/back")" = copied ] || fail 'kubectl cp' "$(cat "$work/back")"
echo port-forward >>"$used"
kubectl -n clients port-forward deployment/web 18080:8080 >"$work/forward" 2>&1 &
forward=$!
eventually 'Forwarding from 127.0.0.1:18080' cat "$work/forward"
eventually 'root:x:0:0' curl -fsS http://127.0.0.1:18080/passwd
kill $forward
echo proxy >>"$used"
kubectl proxy --port=18001 >"$work/proxy" 2>&1 &
proxy=$!
eventually 'Starting to serve on' cat "$work/proxy"
eventually '"kind": "ConfigMap"' curl -fsS http://127.0.0.1:18001/api/v1/namespaces/clients/configmaps/c
kill $proxy
wait $forward $proxy 2>/dev/null
eventually 'scheduler            Healthy   ok' k get componentstatuses
ok 'yes' n auth can-i create pods
refused 'no' n auth can-i delete pods --as=system:serviceaccount:clients:default
ok 'yes' n auth can-i get pods --as=system:serviceaccount:clients:default
ok 'system:masters' k auth whoami
ok 'Resources' n auth can-i --list
refused 'ephemeral containers are disabled for this cluster' n debug one --image=busybox:test --target=one -- true
ok '' n debug one --image=busybox:test --copy-to=two --container=helper -- sleep 3600
ok 'condition met' n wait --for=condition=Ready pod/two --timeout=180s
eventually 'Created' n events --for pod/one
eventually 'Scheduled' n get events

# Advanced commands.
cat >"$work/map.yaml" <<'EOF'
apiVersion: v1
kind: ConfigMap
metadata: {name: applied, labels: {from: file}}
data: {one: '1'}
EOF
sed "s/'1'/'2'/" "$work/map.yaml" >"$work/map2.yaml"
ok 'configmap/applied created' n apply -f "$work/map.yaml"
ok 'unchanged' n apply -f "$work/map.yaml"
refused "+  one: \"2\"" n diff -f "$work/map2.yaml"
ok 'serverside-applied' n apply --server-side --force-conflicts -f "$work/map2.yaml"
refused 'conflict' n apply --server-side --field-manager=other -f "$work/map.yaml"
ok 'one' n apply view-last-applied configmap applied
ok 'patched' n patch configmap applied -p '{"data":{"two":"2"}}'
ok 'patched' n patch configmap applied --type=json -p '[{"op":"add","path":"/data/three","value":"3"}]'
ok 'patched' n patch deployment web --type=merge -p '{"spec":{"minReadySeconds":1}}'
ok 'patched' n patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":1}}'
ok 'replaced' n replace -f "$work/map.yaml"
ok 'replaced' n replace --force -f "$work/map.yaml"
ok 'condition met' n wait --for=jsonpath='{.status.availableReplicas}'=1 deployment/web --timeout=180s
ok 'from-kustomize' k kustomize kustomize
ok 'created' n apply -k kustomize

# Settings.
ok 'labeled' n label pod one colour=blue
refused "already has a value" n label pod one colour=red
ok 'labeled' n label pod one colour=red --overwrite
ok 'unlabeled' n label pod one colour-
ok 'annotated' n annotate pod one note=a
ok 'annotated' n annotate pod one note-
ok 'bash completion' k completion bash

# Other commands.
ok 'deployments' k api-resources
ok 'deployments/scale' k get --raw /apis/apps/v1
ok 'apps/v1' k api-versions
ok 'current-context' k config view
ok 'coracle' k config current-context
mkdir -p "$work/plugins"
printf '#!/bin/sh\necho plugged in\n' >"$work/plugins/kubectl-clients"
chmod +x "$work/plugins/kubectl-clients"
PATH=$work/plugins:$PATH ok 'kubectl-clients' k plugin list
PATH=$work/plugins:$PATH ok 'plugged in' kubectl clients
# New in 1.37.
if kubectl kuberc --help >/dev/null 2>&1; then
    printf 'apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n' >"$work/kuberc"
    ok 'kind: Preference' k kuberc view --kuberc "$work/kuberc"
fi

ok 'deleted' n delete pod one echo --now
ok 'deleted' n delete configmap -l from=file
ok 'deleted' n delete deployment web
ok 'deleted' n delete pods --all --now
ok 'deleted' k delete csr jane mallory
ok 'deleted' k delete priorityclass clients-high
ok 'deleted' k delete namespace clients --timeout=180s
refused 'NotFound' k get namespace clients

# Commands are indented by two blanks, and a blank column parts them from what they do.
unused=$(kubectl --help | awk '/^ +kubectl|^Usage/ {exit} /^  [a-z]/ {print $1}' | sort -u | comm -23 - <(sort -u "$used"))
[ -z "$unused" ] || fail 'commands of kubectl that were not run' "$unused"
