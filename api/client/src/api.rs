//! Requests about objects of one kind, typed: what `kube::Api` does, with the kinds' one reader and writer.
//!
//! Invariant: no (de)serializer of a kind is compiled for a caller (see `coracle_kinds`).
//! Source:    https://kubernetes.io/docs/reference/using-api/api-concepts/

use std::marker::PhantomData;

use coracle_kinds::Kind;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Client, Error, Resource,
    api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams},
    core::{Request, request},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const STATUS: &str = "status";

/// The objects of kind `K`: of the cluster, or of one namespace.
pub struct Api<K> {
    client: Client,
    request: Request,
    kind: PhantomData<fn() -> K>,
}

type Built = Result<http::Request<Vec<u8>>, request::Error>;

impl<K: Kind + Resource<DynamicType = ()>> Api<K> {
    /// Objects without a namespace, or those of all namespaces.
    pub fn all(client: Client) -> Api<K> {
        Api { client, request: Request::new(K::url_path(&(), None)), kind: PhantomData }
    }

    pub fn namespaced(client: Client, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
    {
        Api { client, request: Request::new(K::url_path(&(), Some(namespace))), kind: PhantomData }
    }

    pub async fn get(&self, name: &str) -> Result<K, Error> {
        self.object(self.request.get(name, &GetParams::default())).await
    }

    /// `None`: there is no such object.
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>, Error> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn list(&self, params: &ListParams) -> Result<Vec<K>, Error> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Box<RawValue>>,
        }
        let text = self.text(self.request.list(params)).await?;
        let list: List = serde_json::from_str(&text).map_err(Error::SerdeError)?;
        list.items.iter().map(|item| K::read(item.get().as_bytes()).map_err(Error::SerdeError)).collect()
    }

    pub async fn create(&self, params: &PostParams, object: &K) -> Result<K, Error> {
        self.object(self.request.create(params, written(object)?)).await
    }

    pub async fn replace(&self, name: &str, params: &PostParams, object: &K) -> Result<K, Error> {
        self.object(self.request.replace(name, params, written(object)?)).await
    }

    pub async fn replace_status(&self, name: &str, params: &PostParams, object: &K) -> Result<K, Error> {
        self.replace_subresource(STATUS, name, params, object).await
    }

    /// `subresource` is one that takes the whole object, e.g. `finalize`.
    pub async fn replace_subresource(
        &self,
        subresource: &str,
        name: &str,
        params: &PostParams,
        object: &K,
    ) -> Result<K, Error> {
        self.object(self.request.replace_subresource(subresource, name, params, written(object)?)).await
    }

    /// `subresource` is one that takes another kind, e.g. `binding`.
    pub async fn create_subresource<B: Kind>(
        &self,
        subresource: &str,
        name: &str,
        params: &PostParams,
        body: &B,
    ) -> Result<(), Error> {
        self.text(self.request.create_subresource(subresource, name, params, written(body)?)).await.map(drop)
    }

    pub async fn patch<P: Serialize>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<K, Error> {
        self.object(self.request.patch(name, params, patch)).await
    }

    pub async fn patch_status<P: Serialize>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<K, Error> {
        self.object(self.request.patch_subresource(STATUS, name, params, patch)).await
    }

    /// The object, where the deletion has only begun (grace or finalizers hold it) or the server shows what is gone.
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<Option<K>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            kind: String,
        }
        let text = self.text(self.request.delete(name, params)).await?;
        let answer: Answer = serde_json::from_str(&text).map_err(Error::SerdeError)?;
        let object = (answer.kind != "Status").then(|| K::read(text.as_bytes()));
        object.transpose().map_err(Error::SerdeError)
    }

    async fn object(&self, request: Built) -> Result<K, Error> {
        K::read(self.text(request).await?.as_bytes()).map_err(Error::SerdeError)
    }

    async fn text(&self, request: Built) -> Result<String, Error> {
        self.client.request_text(request.map_err(Error::BuildRequest)?).await
    }
}

fn written<K: Kind>(object: &K) -> Result<Vec<u8>, Error> {
    object.write().map_err(Error::SerdeError)
}
