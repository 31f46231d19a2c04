//! The object stores a plan can reach: the lake's, and no other.

use std::sync::Arc;

use datafusion::common::{Result, plan_err};
use datafusion::execution::object_store::{ObjectStoreRegistry, ObjectStoreUrl};
use object_store::ObjectStore;
use url::Url;

/// A registry of one store. DataFusion's own would open any local path.
#[derive(Debug)]
pub(super) struct OnlyLake {
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
}

impl OnlyLake {
    pub(super) fn new(url: &ObjectStoreUrl, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            url: url.clone(),
            store,
        }
    }
}

impl ObjectStoreRegistry for OnlyLake {
    fn register_store(
        &self,
        _url: &Url,
        _store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let lake: &Url = self.url.as_ref();
        if (url.scheme(), url.host_str()) == (lake.scheme(), lake.host_str()) {
            return Ok(Arc::clone(&self.store));
        }
        plan_err!("queries read the lake only, not {}://", url.scheme())
    }
}
