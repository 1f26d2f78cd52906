// Node's official client: typed calls, an informer, server-side apply, patches, logs, exec over WebSocket, errors.
// Needs KUBECONFIG and the image busybox:test on the node.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = 'node-client';

async function eventually(what, condition) {
  for (const deadline = Date.now() + 180_000; ; await new Promise((done) => setTimeout(done, 100))) {
    const value = await condition();
    if (value) return value;
    assert(Date.now() < deadline, what);
  }
}

assert.equal((await config.makeApiClient(k8s.VersionApi).getCode()).minor, '36');
await core.createNamespace({ body: { metadata: { name: namespace } } });

// An informer sees what happens from its list on.
const seen = [];
const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'seen=yes' });
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const informer = k8s.makeInformer(config, path, list, 'seen=yes');
for (const event of ['add', 'update', 'delete']) {
  informer.on(event, (object) => seen.push(`${event} ${object.metadata.name} ${object.data?.a}`));
}
informer.on('error', (error) => seen.push(`error ${error}`));
await informer.start();
const map = (name, a) => ({ metadata: { name, labels: { seen: 'yes' } }, data: { a } });
await core.createNamespacedConfigMap({ namespace, body: map('c', '1') });
await core.replaceNamespacedConfigMap({ namespace, name: 'c', body: map('c', '2') });
await core.deleteNamespacedConfigMap({ namespace, name: 'c' });
await eventually('the informer saw three events', () => seen.length >= 3);
assert.deepEqual(seen, ['add c 1', 'update c 2', 'delete c 2']);
await informer.stop();

const container = { name: 'main', image: 'busybox:test', command: ['sh', '-c', 'echo hello; exec sleep 3600'] };
const template = {
  metadata: { labels: { app: 'web' } },
  spec: { containers: [container], terminationGracePeriodSeconds: 0 },
};
const body = { metadata: { name: 'web' }, spec: { selector: { matchLabels: { app: 'web' } }, template } };
await apps.createNamespacedDeployment({ namespace, body });
await eventually('the deployment is available', async () => {
  return (await apps.readNamespacedDeployment({ namespace, name: 'web' })).status.availableReplicas === 1;
});
const pods = await core.listNamespacedPod({ namespace, labelSelector: 'app=web' });
const pod = pods.items[0].metadata.name;
await eventually('the log says hello', async () => {
  return (await core.readNamespacedPodLog({ namespace, name: pod })).includes('hello');
});
const out = new PassThrough();
let said = '';
out.on('data', (bytes) => (said += bytes));
const status = await new Promise((done, failed) => {
  new k8s.Exec(config)
    .exec(namespace, pod, 'main', ['sh', '-c', 'echo through; exit 3'], out, process.stderr, null, false, done)
    .catch(failed);
});
await eventually('exec printed', () => said === 'through\n');
assert.equal(status.details.causes[0].message, '3');

// Server-side apply, and a patch of another kind.
const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied', namespace }, data: { a: '1' } };
const apply = (object, manager, force) =>
  objects.patch(object, undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
assert.equal((await apply(applied, 'one')).data.a, '1');
await assert.rejects(apply({ ...applied, data: { a: '2' } }, 'two'), { code: 409 });
assert.equal((await apply({ ...applied, data: { a: '2' } }, 'two', true)).data.a, '2');
await assert.rejects(core.readNamespacedConfigMap({ namespace, name: 'nothing' }), { code: 404 });
await core.deleteNamespace({ name: namespace });
await eventually('the namespace is gone', () =>
  core.readNamespace({ name: namespace }).then(() => false, (error) => error.code === 404),
);
