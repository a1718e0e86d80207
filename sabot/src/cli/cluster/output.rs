//! `job output`: the rows that a sink of a job has committed, or a ticket for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use arrow_schema::SchemaRef;
use clap::ArgMatches;
use tokio::runtime::Handle;

use super::{net, pretty, token};
use crate::cli::stdout::{Format, StdoutSink};
use crate::cluster::Client;
use crate::cluster::api::{JobView, TicketAsked, TicketView};
use crate::operator::Sink;
use crate::shuffle::flight::{OutputReader, Peer, PeerOptions, Token};
use crate::{Error, Result};

/// Prints rows, or a ticket; returns the exit code.
pub(super) async fn output(client: &Client, id: &str, sub: &ArgMatches) -> Result<i32> {
    let name = match sub.get_one::<String>("output") {
        Some(name) => name.clone(),
        None => only(&client.get(&format!("/v1/jobs/{id}")).await?)?,
    };
    let asked = TicketAsked { seconds: sub.get_one::<std::time::Duration>("lasts").map(std::time::Duration::as_secs) };
    let ticket: TicketView = client.post(&format!("/v1/jobs/{id}/outputs/{name}/ticket"), &asked).await?;
    if sub.get_flag("ticket") {
        return pretty(&ticket);
    }
    let (reader, schema) = begin(&ticket, sub).await?;
    let asked = sub.get_one::<String>("format").map(String::as_str).or(sub.get_flag("json").then_some("json"));
    print(reader, &schema, Format::choose(asked, sub.get_flag("all"), false)).await
}

/// The one output of a job.
fn only(view: &JobView) -> Result<String> {
    let names: Vec<&str> = view.outputs.iter().map(|o| o.name.as_str()).collect();
    match names.as_slice() {
        [one] => Ok((*one).to_owned()),
        several => {
            let list = several.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            Err(Error::Usage(format!("job {} has several outputs: say which, {list}", view.summary.id)))
        }
    }
}

/// The first process that has the rows.
async fn begin(ticket: &TicketView, sub: &ArgMatches) -> Result<(OutputReader, SchemaRef)> {
    let token = token(sub)?.as_deref().map(Token::new).transpose()?;
    let options = PeerOptions { token, tls: net::tls(sub)?, ..PeerOptions::default() };
    let mut last = Error::internal("a ticket without an address");
    for uri in &ticket.addresses {
        let (scheme, address) = uri.split_once("://").unwrap_or(("grpc", uri));
        if scheme == "grpc+tls" && options.tls.is_none() {
            return Err(Error::usage(
                "agents show their rows over TLS: say which certificate to show, `--tls-cert`, `--tls-key`, `--tls-ca`",
            ));
        }
        match Peer::new("the process", address, &options, &Handle::current())?.output(&ticket.ticket).await {
            Ok(found) => return Ok(found),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn print(mut reader: OutputReader, schema: &SchemaRef, format: Format) -> Result<i32> {
    // a reader of ours that has gone away (`| head`) is no error
    let gone = Arc::new(AtomicBool::new(false));
    let mut sink = StdoutSink::new(format, Arc::clone(&gone));
    let quiet = |done: Result<()>| if gone.load(SeqCst) { Ok(false) } else { done.map(|()| true) };
    if !quiet(sink.open(schema))? {
        return Ok(0);
    }
    while let Some(batch) = reader.next().await? {
        if !quiet(sink.write(&batch))? {
            return Ok(0);
        }
    }
    quiet(sink.commit())?;
    Ok(0)
}
