//! The Flight service of a node: `DoExchange` for edges and frames, `DoGet` for outputs; all else is refused by name.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo,
    PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::auth::{Grant, Purpose};
use super::frames::{FrameReceiver, Frames, outgoing};
use super::hello::{Edge, Hello};
use super::node::{Call, Registry};

pub(super) struct Service(pub(super) Arc<Registry>);

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl Service {
    fn allowed<T>(&self, request: &Request<T>) -> Result<(), Status> {
        self.0.token.as_ref().map_or(Ok(()), |token| token.check(request).map_err(|status| *status))
    }
    fn refused<T, A>(&self, request: &Request<T>, call: &str) -> Answer<A> {
        self.allowed(request)?;
        Err(Status::unimplemented(format!("{call} is not served here: outputs are read by DoGet with a ticket of the control plane")))
    }
    fn granted(&self, ticket: &str) -> Result<Grant, Status> {
        let key =
            self.0.tickets.as_ref().ok_or_else(|| Status::failed_precondition("this process was started without a key for tickets"))?;
        key.open(ticket).map_err(|e| Status::permission_denied(e.to_string()))
    }
    fn frames(&self, name: &str, hello: Bytes, request: Request<Streaming<FlightData>>) -> Result<Answers<FlightData>, Status> {
        let handler = self.0.handler(name).ok_or_else(|| Status::not_found(format!("nothing here answers control streams `{name}`")))?;
        let remote = request.remote_addr();
        let place = remote.map_or_else(|| "a caller".to_owned(), |a| format!("the caller at {a}"));
        let (sender, parts) = outgoing(None);
        handler(Call {
            hello,
            remote,
            frames: Frames { sender, receiver: FrameReceiver::new(request.into_inner().take_until(self.0.stop()), place) },
        });
        Ok(parts.map(Ok).boxed())
    }
    fn exchange(
        &self,
        edge: &Edge,
        ticket: &str,
        links: &[(u32, u32)],
        frames: Streaming<FlightData>,
    ) -> Result<Answers<FlightData>, Status> {
        let Grant { job, attempt, purpose, .. } = self.granted(ticket)?;
        if (&job, attempt, &purpose) != (&edge.job, edge.generation, &Purpose::Exchange) {
            return Err(Status::permission_denied(format!(
                "the ticket is for {purpose} of job `{job}`, attempt {attempt}, not for {edge}"
            )));
        }
        self.0.arrivals(edge)?.accept(links, frames)
    }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        self.allowed(&request)?;
        let ticket = request.into_inner().ticket;
        let ticket = std::str::from_utf8(&ticket).map_err(|_| Status::permission_denied("the ticket is no text"))?;
        Ok(Response::new(self.0.outputs.open(self.granted(ticket)?, self.0.stop()).await?))
    }
    async fn do_exchange(&self, mut request: Request<Streaming<FlightData>>) -> Answer<Self::DoExchangeStream> {
        self.allowed(&request)?;
        let unclear = || Status::invalid_argument("the stream does not begin with what it is for: is it of another version of Sabot?");
        let first = request.get_mut().message().await?.ok_or_else(unclear)?;
        let command = first.flight_descriptor.ok_or_else(unclear)?.cmd;
        let answers = match rmp_serde::from_slice(&command).map_err(|_| unclear())? {
            Hello::Frames { name, hello } => self.frames(&name, hello.into_vec().into(), request)?,
            Hello::Exchange { edge, ticket, links } => self.exchange(&edge, &ticket, &links, request.into_inner())?,
        };
        Ok(Response::new(answers.take_until(self.0.stop()).boxed()))
    }
    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Answer<Self::HandshakeStream> {
        self.refused(&request, "Handshake")
    }
    async fn list_flights(&self, request: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        self.refused(&request, "ListFlights")
    }
    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        self.refused(&request, "GetFlightInfo")
    }
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Answer<PollInfo> {
        self.refused(&request, "PollFlightInfo")
    }
    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        self.refused(&request, "GetSchema")
    }
    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        self.refused(&request, "DoPut")
    }
    async fn do_action(&self, request: Request<Action>) -> Answer<Self::DoActionStream> {
        self.refused(&request, "DoAction")
    }
    async fn list_actions(&self, request: Request<Empty>) -> Answer<Self::ListActionsStream> {
        self.refused(&request, "ListActions")
    }
}
