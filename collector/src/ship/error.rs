//! Why there is no producer.

use rdkafka::error::KafkaError;

/// Why librdkafka does not take its configuration. Names the property and never shows its value, which may be a
/// password: librdkafka's own error prints it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(String);

impl ClientError {
    pub(super) fn thread(error: std::io::Error) -> ClientError {
        ClientError(format!("the sending thread cannot be started: {error}"))
    }
}

impl From<KafkaError> for ClientError {
    fn from(error: KafkaError) -> ClientError {
        let KafkaError::ClientConfig(_, mut what, property, value) = error else {
            return ClientError(error.to_string());
        };
        if !value.is_empty() && what.contains(&value) {
            "a value that is not allowed".clone_into(&mut what);
        }
        ClientError(format!("property `{property}`: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID;

    use super::*;

    #[test]
    fn a_property_that_is_refused_is_named_without_its_value() {
        for what in ["Invalid value", "Invalid value \"open sesame\" for it"] {
            let error = ClientError::from(KafkaError::ClientConfig(
                RD_KAFKA_CONF_INVALID,
                what.to_owned(),
                "sasl.password".to_owned(),
                "open sesame".to_owned(),
            ));
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains("sasl.password") && !shown.contains("sesame"),
                "{shown}"
            );
        }
    }
}
