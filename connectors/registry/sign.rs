//! Detached JWS (RFC 7515, appendix F) over the raw bytes of a body, with Ed25519 (RFC 8037) and nothing else.
//! The header says who signed; the algorithm is ours to choose, never the message's.
//! Deliberately not here: where keys are kept.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The only algorithm that is written or accepted.
const ALGORITHM: &str = "EdDSA";
/// Length of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;
/// Longest signature header that is looked at.
const JWS_CHARS_MAX: usize = 4_096;

/// Why a key or a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The bytes are no Ed25519 key, or none could be made.
    #[error("not an Ed25519 key")]
    BadKey,
    /// Not `header..signature` in base64url with a JSON header.
    #[error("the signature is not a detached JWS")]
    Malformed,
    /// Any algorithm but EdDSA, `none` included, or a critical extension.
    #[error("the signature's algorithm is not accepted")]
    BadAlgorithm,
    /// Signed under another key id.
    #[error("the signature names another key")]
    WrongKey,
    /// The signature does not belong to these bytes and this key.
    #[error("the signature does not match")]
    Mismatch,
}

/// The protected header. Unknown members are ignored, as RFC 7515 wants; `crit` never is.
#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

/// Our own key pair and its id.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    kid: String,
}

impl SigningKey {
    /// A new key pair as PKCS#8 bytes.
    pub fn generate() -> Result<Vec<u8>, SignError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SignError::BadKey)?;
        Ok(document.as_ref().to_vec())
    }

    /// Reads PKCS#8 bytes. Without a key id the RFC 7638 thumbprint is used.
    pub fn from_pkcs8(bytes: &[u8], kid: Option<String>) -> Result<Self, SignError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).map_err(|_| SignError::BadKey)?;
        let kid = kid.unwrap_or_else(|| thumbprint(pair.public_key().as_ref()));
        Ok(Self { pair, kid })
    }

    /// The id that signatures name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The other half, for whoever verifies.
    pub fn public_key(&self) -> VerifyingKey {
        let mut bytes = [0_u8; PUBLIC_KEY_BYTES];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey { bytes, kid: self.kid.clone() }
    }

    /// `base64url(header)..base64url(signature)` over the body's bytes.
    pub fn sign(&self, body: &[u8]) -> String {
        let header = json!({"alg": ALGORITHM, "kid": self.kid}).to_string();
        let header = BASE64URL.encode(header);
        let signature = self.pair.sign(&signing_input(&header, body));
        format!("{header}..{}", BASE64URL.encode(signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Somebody's public key and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    bytes: [u8; PUBLIC_KEY_BYTES],
    kid: String,
}

impl VerifyingKey {
    /// Takes the 32 bytes of a public key. Without a key id the RFC 7638 thumbprint is used.
    pub fn from_bytes(bytes: &[u8], kid: Option<String>) -> Result<Self, SignError> {
        let bytes: [u8; PUBLIC_KEY_BYTES] = bytes.try_into().map_err(|_| SignError::BadKey)?;
        Ok(Self { bytes, kid: kid.unwrap_or_else(|| thumbprint(&bytes)) })
    }

    /// Reads the JWK that [`VerifyingKey::jwk`] writes.
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<Self, SignError> {
        let text = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str);
        if text("kty") != Some("OKP") || text("crv") != Some("Ed25519") {
            return Err(SignError::BadKey);
        }
        let bytes = BASE64URL.decode(text("x").unwrap_or_default()).map_err(|_| SignError::BadKey)?;
        Self::from_bytes(&bytes, text("kid").map(str::to_owned))
    }

    /// The id that signatures must name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key as an entry of a JWK set.
    pub fn jwk(&self) -> serde_json::Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(self.bytes),
            "kid": self.kid, "use": "sig", "alg": ALGORITHM,
        })
    }

    /// Succeeds only for a signature of these very bytes by this key.
    pub fn verify(&self, jws: &str, body: &[u8]) -> Result<(), SignError> {
        if jws.len() > JWS_CHARS_MAX {
            return Err(SignError::Malformed);
        }
        let (header_text, signature) = jws.trim().split_once("..").ok_or(SignError::Malformed)?;
        let header = BASE64URL.decode(header_text).map_err(|_| SignError::Malformed)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| SignError::Malformed)?;
        let signature = BASE64URL.decode(signature).map_err(|_| SignError::Malformed)?;
        if header.alg != ALGORITHM || header.crit.is_some() {
            return Err(SignError::BadAlgorithm);
        }
        if header.kid.as_deref() != Some(&self.kid) {
            return Err(SignError::WrongKey);
        }
        let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
        key.verify(&signing_input(header_text, body), &signature).map_err(|_| SignError::Mismatch)
    }
}

/// RFC 7515 §5.1: the protected header and the payload, both in base64url, with a full stop between.
fn signing_input(header: &str, body: &[u8]) -> Vec<u8> {
    format!("{header}.{}", BASE64URL.encode(body)).into_bytes()
}

/// RFC 7638: SHA-256 over the required members in lexical order.
fn thumbprint(public_key: &[u8]) -> String {
    let x = BASE64URL.encode(public_key);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64URL.encode(digest(&SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), None).unwrap()
    }

    #[test]
    fn a_signature_holds_for_its_own_bytes_only() {
        let key = key();
        let body = br#"{"header":{},"message":{}}"#.to_vec();
        let jws = key.sign(&body);
        let public = key.public_key();
        assert_eq!(public.verify(&jws, &body), Ok(()));
        for index in 0..body.len() {
            let mut other = body.clone();
            other[index] ^= 1;
            assert_eq!(public.verify(&jws, &other), Err(SignError::Mismatch), "byte {index}");
        }
        assert_eq!(VerifyingKey::from_jwk(&public.jwk()), Ok(public));
    }

    #[test]
    fn another_key_algorithm_or_shape_is_refused() {
        let (ours, theirs) = (key(), key());
        let jws = ours.sign(b"x");
        assert_eq!(theirs.public_key().verify(&jws, b"x"), Err(SignError::WrongKey));
        let same_name = VerifyingKey { kid: ours.kid.clone(), ..theirs.public_key() };
        assert_eq!(same_name.verify(&jws, b"x"), Err(SignError::Mismatch));
        let signature = jws.split_once("..").unwrap().1;
        let with = |header: serde_json::Value| format!("{}..{signature}", BASE64URL.encode(header.to_string()));
        let public = ours.public_key();
        for alg in ["none", "None", "RS256", "HS256", "eddsa", ""] {
            let forged = with(json!({"alg": alg, "kid": ours.kid}));
            assert_eq!(public.verify(&forged, b"x"), Err(SignError::BadAlgorithm), "{alg}");
        }
        let critical = with(json!({"alg": "EdDSA", "kid": ours.kid, "crit": ["b64"], "b64": false}));
        assert_eq!(public.verify(&critical, b"x"), Err(SignError::BadAlgorithm));
        assert_eq!(public.verify(&with(json!({"alg": "EdDSA"})), b"x"), Err(SignError::WrongKey));
        for text in ["", ".", "..", "...", "a..b", "e30..", "\u{41f}..\u{41f}", &"A".repeat(100_000)] {
            assert!(public.verify(text, b"x").is_err(), "{text}");
        }
        assert_eq!(public.verify(&format!("{}..", jws.split_once("..").unwrap().0), b"x"), Err(SignError::Mismatch));
        assert!(SigningKey::from_pkcs8(b"nonsense", None).is_err());
    }

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_8037() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let public = VerifyingKey::from_jwk(&json!({"kty": "OKP", "crv": "Ed25519", "x": x})).unwrap();
        assert_eq!(public.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn the_signature_is_the_one_of_rfc_8037() {
        // Appendix A.4: the key of appendix A.1 signs "Example of Ed25519 signing" under {"alg":"EdDSA"}.
        let seed = BASE64URL.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let public = BASE64URL.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let pair = Ed25519KeyPair::from_seed_and_public_key(&seed, &public).unwrap();
        let header = "eyJhbGciOiJFZERTQSJ9";
        assert_eq!(BASE64URL.decode(header).unwrap(), br#"{"alg":"EdDSA"}"#);
        let signature = pair.sign(&signing_input(header, b"Example of Ed25519 signing"));
        let wanted = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(BASE64URL.encode(signature), wanted);
    }
}
