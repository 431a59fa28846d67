//! Who a server says it is: a certificate and its key, read from files, or made at start for its address.
//!
//! Read once, before the engine. Errors are the operator's.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringway::error::SetupError;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Where certificate and key come from.
#[derive(clap::Args, Clone, Debug)]
pub struct Source {
    /// Certificate chain (PEM), the server's own first; without it a self-signed one is made at start, which no client trusts
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Source {
    /// Reads the files, or makes a certificate for an address.
    ///
    /// # Errors
    /// A file cannot be read or has no PEM block of its kind.
    pub fn load(&self, address: IpAddr) -> Result<Identity, SetupError> {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Identity::read(cert, key),
            _ => Identity::made_for(address),
        }
    }
}

impl Identity {
    fn read(cert: &Path, key: &Path) -> Result<Self, SetupError> {
        let refused = |path: &Path, why: String| SetupError::usage(format!("cannot use {}", path.display()), why);
        let chain = certificates(cert)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, error.to_string()))?;
        Ok(Self { chain, key })
    }

    fn made_for(address: IpAddr) -> Result<Self, SetupError> {
        let made = rcgen::generate_simple_self_signed([address.to_string()])
            .map_err(|error| SetupError::failed("cannot make a certificate", error.to_string()))?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        Ok(Self { chain: vec![made.cert.der().clone()], key })
    }

    /// What `rustls` has to know of a server that is this one, for these versions of TLS. It asks clients for no certificate.
    ///
    /// # Errors
    /// The key is not that of the certificate.
    pub fn server_config(
        self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<rustls::ServerConfig, SetupError> {
        rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(self.chain, self.key))
            .map_err(|error| SetupError::usage("cannot use the certificate with its key", error.to_string()))
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// It cannot be read, or there is none in it.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let refused = |why: String| SetupError::usage(format!("cannot use {}", path.display()), why);
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(refused("there is no certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// The cryptography: `ring`, which builds with a C compiler alone.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
