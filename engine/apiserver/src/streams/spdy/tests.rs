use super::{headers::dictionary, *};

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

#[test]
fn the_dictionary_is_the_one_of_the_specification() {
    assert_eq!((dictionary().len(), adler32(&dictionary())), (1423, 0xe3c6_a7c2));
}

#[test]
fn header_blocks_share_one_compression_stream_per_direction() {
    let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
    for round in 0..3 {
        let headers = Headers(vec![
            ("streamtype".into(), "data".into()),
            ("port".into(), "8080".into()),
            ("requestid".into(), round.to_string()),
            ("long".into(), "x".repeat(5000)),
        ]);
        assert_eq!(inflater.headers(&deflater.block(&headers.encode())).unwrap(), headers);
    }
    assert!(inflater.headers(b"no zlib").is_err());
}

#[test]
fn frames_are_cut_out_of_the_bytes_one_by_one() {
    let mut wire = BytesMut::new();
    frame::data(&mut wire, 5, b"hello", true);
    frame::ping(&mut wire, 7);
    frame::go_away(&mut wire);
    let mut arrived = BytesMut::new();
    let mut frames = Vec::new();
    for byte in wire {
        arrived.extend([byte]);
        frames.extend(Frame::parse(&mut arrived).unwrap());
    }
    let data = Frame::Data { stream: 5, finished: true, bytes: Bytes::from_static(b"hello") };
    assert_eq!(frames, [data, Frame::Ping { id: 7 }, Frame::Ignored]);
    for wrong in
        [&[0x80, 2, 0, 1, 0, 0, 0, 0][..], &[0, 0, 0, 1, 0, 0xff, 0, 0], &[0x80, 3, 0, 1, 0, 0, 0, 1, 0]]
    {
        assert!(Frame::parse(&mut BytesMut::from(wrong)).is_err(), "{wrong:?}");
    }
}

/// A client as it is on the wire: opens one stream, writes, ends its half.
#[tokio::test]
async fn a_stream_carries_data_both_ways_and_each_side_ends_its_half() {
    let (client, server) = tokio::io::duplex(64);
    let (queues, mut streams, close) = queues();
    let serving = async {
        let mut stream = streams.recv().await.unwrap();
        assert_eq!(stream.headers.get("streamtype"), "data");
        let mut received = Vec::new();
        while let Some(bytes) = stream.incoming.recv().await {
            received.extend_from_slice(&bytes);
        }
        stream.outgoing.send(received).await.unwrap();
        stream.outgoing.finish().await.unwrap();
        close.send(Out::Close).await.unwrap();
    };
    let talking = async {
        let (mut reader, mut writer) = tokio::io::split(client);
        let mut wire = BytesMut::new();
        let block = Deflater::new().block(&Headers(vec![("streamType".into(), "data".into())]).encode());
        frame::syn_stream(&mut wire, 1, &block);
        frame::data(&mut wire, 1, &[b'a'; 1000], false);
        frame::data(&mut wire, 1, b"b", true);
        writer.write_all(&wire).await.unwrap();
        let mut answer = BytesMut::new();
        while reader.read_buf(&mut answer).await.unwrap() > 0 {}
        let mut frames = Vec::new();
        while let Some(frame) = Frame::parse(&mut answer).unwrap() {
            frames.push(frame);
        }
        frames
    };
    let ((), (), frames) = tokio::join!(drive(server, queues), serving, talking);
    let data = |bytes: Vec<u8>, finished| Frame::Data { stream: 1, finished, bytes: bytes.into() };
    assert!(matches!(frames[0], Frame::Headers { .. }));
    assert_eq!(
        frames[1..],
        [data([&[b'a'; 1000][..], b"b"].concat(), false), data(Vec::new(), true), Frame::Ignored]
    );
}
