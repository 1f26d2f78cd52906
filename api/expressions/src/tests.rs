//! What expressions give, one line a case; the texts of problems; and that nothing panics or runs on.

use serde_json::{Value as Json, json};

use crate::{
    Activation, BUDGET, Environment, Error, Field, ListType, ObjectType, Order, Program, Type, Value,
};

fn environment() -> Environment {
    Environment::new([("object", Type::Dyn), ("self", typed()), ("count", Type::Int)])
}

/// `{name, replicas, tags: set, ports: list by name, when, namespace (reserved)}`
fn typed() -> Type {
    let field = |json: &str, ty: Type| Field { json: json.into(), ty };
    let port = Type::object("port", [("name", Type::String), ("port", Type::Int)]);
    let fields = [
        ("name", field("name", Type::String)),
        ("replicas", field("replicas", Type::Int)),
        ("ratio", field("ratio", Type::Double)),
        ("when", field("when", Type::Timestamp)),
        ("__namespace__", field("namespace", Type::String)),
        ("tags", field("tags", Type::List(ListType { item: Type::String, order: Order::Set }.into()))),
        (
            "ports",
            field(
                "ports",
                Type::List(ListType { item: port, order: Order::Keys(vec!["name".into()]) }.into()),
            ),
        ),
        ("labels", field("labels", Type::map(Type::String, Type::String))),
    ];
    let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), field)).collect();
    Type::Object(ObjectType { name: "object".into(), fields }.into())
}

fn object() -> Json {
    json!({
        "name": "web", "replicas": 3, "ratio": 2, "when": "2024-02-03T04:05:06Z", "namespace": "prod",
        "tags": ["a", "b"], "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 9090}],
        "labels": {"app": "web", "a.b/c": "x"}, "empty": null
    })
}

fn run(program: &Program) -> Result<Option<Json>, Error> {
    let (object, ty) = (object(), typed());
    let values = vec![Value::json(&object), Value::typed(&object, &ty), Value::Int(5)];
    // What borrows the object goes before it.
    Activation::new(values, &[], BUDGET).evaluate(program).map(|value| value.to_json())
}

fn evaluate(source: &str) -> Result<Option<Json>, Error> {
    run(&environment().compile(source).unwrap_or_else(|error| panic!("{source}: {error}")))
}

fn holds(cases: &str) {
    for source in cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert_eq!(evaluate(source), Ok(Some(json!(true))), "{source}");
    }
}

#[test]
fn the_language_and_its_operators() {
    holds(
        r#"
        1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 % 3 == -1 && 7u - 2u == 5u
        1.5 * 2.0 == 3.0 && 'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && b'a' + b'b' == b'ab'
        1 < 2.5 && 2u > 1 && 'a' < 'b' && !(true && false) && (false || true)
        2 in [1, 2] && 'app' in self.labels && !('x' in self.labels)
        (count > 3 ? 'many' : 'few') == 'many'
        {'a': [0], 'b': [1, 2]}.b[1] == 2 && {1: 'x'}[1] == 'x'
        dyn(1) == dyn(1.0) && dyn(1) == dyn(1u) && dyn('1') != dyn(1)
        object.replicas == 3 && object['name'] == 'web' && object.ports[1].port == 9090
        has(object.name) && !has(object.nothing) && has(self.name)
        self.ratio == 2.0 && self.__namespace__ == 'prod' && self.when < timestamp('2025-01-01T00:00:00Z')
        object.nothing == 1 || object.replicas == 3
        type(1) == int && type('a') == string && type([]) == list && type(1u) != int
        int('5') == 5 && string(5) == '5' && double('1.5') == 1.5 && uint(3) == 3u && bool('true') && int(3.9) == 3
        "#,
    );
}

#[test]
fn macros_over_one_and_two_variables() {
    holds(
        r#"
        [1, 2, 3].all(x, x > 0) && [1, 2, 3].exists(x, x == 2) && [1, 2].exists_one(x, x == 1)
        ![1, 2].all(x, x > 1) && [0, 1].exists(x, 1 / x == 1)
        [1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]
        [1, 2, 3].filter(x, x != 2) == [1, 3] && {'a': 1}.map(k, k) == ['a']
        [[1, 2], [3]].all(l, l.exists(x, x == l[0]))
        self.labels.all(k, self.labels[k] != '') && self.ports.exists(p, p.name == 'http' && p.port == 80)
        [5, 6].all(i, v, v == i + 5) && {'a': 1}.exists(k, v, k == 'a' && v == 1) && [1, 1].existsOne(i, v, i == 1)
        [1, 2].transformList(i, v, i * v) == [0, 2] && [1, 2].transformList(i, v, i == 1, v) == [2]
        {'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && {'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}
        "#,
    );
}

#[test]
fn optional_values() {
    holds(
        r#"
        object.?name.orValue('x') == 'web' && object.?nothing.orValue('x') == 'x'
        object.?nothing.?deeper.hasValue() == false && object[?'name'].value() == 'web'
        optional.of(1).optMap(x, x + 1).value() == 2 && !optional.none().hasValue()
        optional.none().or(optional.of(2)).value() == 2 && optional.ofNonZeroValue(0) == optional.none()
        [?optional.none(), 1] == [1] && {?'a': optional.of(1)} == {'a': 1} && self.?labels.app.orValue('') == 'web'
        "#,
    );
}

#[test]
fn text_lists_and_sets() {
    holds(
        r#"
        'Hello'.lowerAscii() == 'hello' && 'a,b'.split(',') == ['a', 'b'] && ['a', 'b'].join('-') == 'a-b'
        'hello'.replace('l', 'L', 1) == 'heLlo' && 'héllo'.substring(1, 3) == 'él' && ' a '.trim() == 'a'
        'héllo'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3 && 'abc'.charAt(1) == 'b' && 'x'.indexOf('y') == -1
        'a-b-c'.split('-', 2) == ['a', 'b-c'] && 'abc'.split('') == ['a', 'b', 'c'] && 'abc'.upperAscii() == 'ABC'
        'v1.2'.matches('^v[0-9]') && 'ab12c3'.find('[0-9]+') == '12' && 'a1b2'.findAll('[0-9]') == ['1', '2']
        '%s is %d of %.2f: %s'.format(['a', 1, 2.0, [1, 'x']]) == 'a is 1 of 2.00: [1, x]'
        '%s %d %.2f %x %b %e'.format(['a', 1, 2.0, 255, 5, 1.5]) == 'a 1 2.00 ff 101 1.500000e+00'
        [1, 2, 3].isSorted() && [1, 2].sum() == 3 && [3, 1].min() == 1 && [3, 1].max() == 3 && [1, 2, 1].lastIndexOf(1) == 2
        size('héllo') == 5 && [1].size() == 1 && size({'a': 1}) == 1 && strings.quote('a"b') == '"a\\"b"'
        sets.contains([1, 2], [1]) && sets.equivalent([1, 2, 2], [2, 1]) && !sets.intersects([1], [2])
        self.tags == ['b', 'a'] && self.tags + ['a', 'c'] == ['a', 'b', 'c'] && self.tags.size() == 2
        jsonpatch.escapeKey('example.com/foo~') == 'example.com~1foo~0'
        "#,
    );
}

#[test]
fn times_durations_and_the_libraries_of_kubernetes() {
    holds(
        r#"
        duration('1h30m') == duration('90m') && duration('1.5s').getMilliseconds() == 500 && string(duration('90s')) == '90s'
        timestamp('2024-02-03T04:05:06Z').getFullYear() == 2024 && timestamp('2024-02-03T04:05:06Z').getMonth() == 1
        timestamp('2024-02-03T23:00:00Z').getHours('+02:00') == 1 && timestamp('2024-02-03T00:00:00Z').getDayOfWeek() == 6
        timestamp('2024-02-03T00:00:00Z') + duration('24h') == timestamp('2024-02-04T00:00:00Z')
        timestamp('2024-02-04T00:00:00Z') - timestamp('2024-02-03T00:00:00Z') == duration('24h')
        quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1.5k').asInteger() == 1500 && !isQuantity('1X')
        quantity('50k').add(20) == quantity('50020') && quantity('100m').compareTo(quantity('1')) == -1
        url('https://u@example.com:80/a?k=v&k=w').getHost() == 'example.com:80' && url('https://[::1]:80/').getHostname() == '::1'
        url('https://a/p?k=v&k=w').getQuery() == {'k': ['v', 'w']} && isURL('/a') && !isURL('a b') && url('https://a:8/').getPort() == '8'
        ip('10.0.0.1').family() == 4 && isIP('::1') && !isIP('1.2.3') && ip('127.0.0.1').isLoopback() && ip.isCanonical('::1')
        cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !isCIDR('10.0.0.0/33')
        cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && string(cidr('10.0.0.0/8').ip()) == '10.0.0.0' && cidr('10.0.0.0/8').prefixLength() == 8
        !format.dns1123Label().validate('a-b').hasValue() && format.dns1123Label().validate('A_b').value().size() == 1
        format.named('uuid').value().validate('not').hasValue() && !format.named('other').hasValue()
        semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').compareTo(semver('1.0.0')) == -1 && isSemver('v1', true) && !isSemver('v1')
        "#,
    );
}

#[test]
fn failures_have_the_texts_of_the_stock_server() {
    for (source, expected) in [
        ("object.nothing == 1", "no such key: nothing"),
        ("[1][2] == 1", "index out of bounds: 2"),
        ("1 / 0 == 1", "division by zero"),
        ("1 % 0 == 1", "modulus by zero"),
        ("9223372036854775807 + 1 == 0", "integer overflow"),
        ("object.name + 1 == 2", "no such overload"),
        ("object.name", ""),
        ("optional.none().value() == 1", "optional.none() dereference"),
        ("[].min() == 1", "min called on empty list"),
        (
            "url('a b').getHost() == ''",
            "URL parse error during conversion from string: parse \"a b\": invalid URI for request",
        ),
    ] {
        let result = evaluate(source);
        match expected {
            "" => assert!(result.is_ok()),
            _ => assert_eq!(result.expect_err(source).to_string(), expected, "{source}"),
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_at_its_place() {
    for (source, expected) in [
        ("self.nam == 'x'", "ERROR: <input>:1:5: undefined field 'nam'\n | self.nam == 'x'\n | ....^"),
        (
            "missing == 1",
            "ERROR: <input>:1:1: undeclared reference to 'missing' (in container '')\n | missing == 1\n | ^",
        ),
        (
            "self.replicas + 'x' == 'y'",
            "ERROR: <input>:1:15: found no matching overload for '_+_' applied to '(int, string)'\n | self.replicas + 'x' == 'y'\n | ..............^",
        ),
        (
            "self.name.contains(1)",
            "ERROR: <input>:1:19: found no matching overload for 'contains' applied to 'string.(int)'\n | self.name.contains(1)\n | ..................^",
        ),
        (
            "true &&\n  foo(1)",
            "ERROR: <input>:2:3: undeclared reference to 'foo' (in container '')\n |   foo(1)\n | ..^",
        ),
    ] {
        assert_eq!(environment().compile(source).expect_err(source).text, expected, "{source}");
    }
    for source in [
        "",
        "1 +",
        "self.name &&",
        "'open",
        "[1, 'a']",
        "1 == 'a'",
        "self.replicas.all(x, true)",
        "x.y(",
        "has(self)",
        "'a'.matches('[')",
        "duration('x') == duration('1s')",
        "self.name ? 1 : 2",
        "Object{a: 1}",
        "a ==== b",
        "1 && true",
        "[1].all(x.y, true)",
        "cel.bind(x, 1, x)",
        "self.tags.map(x)",
        "size()",
        "true ? 1 : 'a'",
    ] {
        assert!(environment().compile(source).is_err(), "{source}");
    }
}

#[test]
fn a_bound_value_is_known_to_its_body_alone() {
    let environment = Environment { binds: true, ..environment() };
    let program = environment.compile("cel.bind(x, count + 1, x * x) == 9 && count == 2").expect("compiles");
    let json = json!({});
    let values = vec![Value::json(&json), Value::json(&json), Value::Int(2)];
    let result = Activation::new(values, &[], BUDGET).evaluate(&program).expect("evaluates");
    assert_eq!(result.as_bool(), Some(true));
    for (source, why) in [
        ("cel.bind(x, 1, x) == x", "undeclared reference to 'x'"),
        ("cel.bind(x.y, 1, true)", "cel.bind() variable names must be simple identifiers"),
        ("cel.bind(x, 1, x.matches('a'))", "found no matching overload"),
    ] {
        let error = environment.compile(source).expect_err(source).to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn composed_expressions_are_evaluated_once_and_see_those_before_them() {
    let mut environment = environment();
    let mut programs = Vec::new();
    for (name, source) in [("a", "object.replicas * 2"), ("b", "variables.a + 1")] {
        let program = environment.compile(source).expect(source);
        environment.composed.push((name.into(), program.result().clone()));
        programs.push(program);
    }
    let program =
        environment.compile("variables.b == 7 && variables.a == 6 && has(variables.a)").expect("compiles");
    let object = object();
    let values = vec![Value::json(&object), Value::Null, Value::Int(0)];
    let activation = Activation::new(values, &programs, BUDGET);
    assert_eq!(activation.evaluate(&program).expect("runs").as_bool(), Some(true));
    assert!(environment.compile("variables.c").is_err());
}

#[test]
fn mutations_are_typed_by_their_place() {
    let mut environment = environment();
    environment.mutations = true;
    let source = "Object{spec: Object.spec{replicas: 3, list: [Object.spec.list{name: 'a'}]}}";
    let program = environment.compile(source).expect(source);
    assert_eq!(program.result().to_string(), "Object");
    let expected = json!({"spec": {"replicas": 3, "list": [{"name": "a"}]}});
    assert_eq!(run(&program), Ok(Some(expected)));
    assert!(environment.compile("Object{spec: Object.other{}}").is_err());
    let patch = environment.compile("[JSONPatch{op: 'add', path: '/a', value: {'b': 1}}]").expect("compiles");
    assert_eq!(run(&patch), Ok(Some(json!([{"op": "add", "path": "/a", "value": {"b": 1}}]))));
    assert!(environment.compile("[JSONPatch{op: 1}]").is_err());
}

#[test]
fn what_takes_too_long_is_cancelled() {
    let range = format!("[{}]", ["1"; 100].join(","));
    let nested = format!("{range}.all(a, {range}.all(b, {range}.all(c, {range}.all(d, a + b + c + d > 0))))");
    assert_eq!(evaluate(&nested), Err(Error::CostLimit));
    // Not even an operand that decides changes that.
    assert_eq!(evaluate(&format!("{nested} || true")), Err(Error::CostLimit));
    let growing = (0..40).fold("'0123456789'".to_owned(), |text, _| format!("[{text}].map(x, x + x)[0]"));
    assert!(matches!(evaluate(&format!("{growing} == ''")), Err(Error::CostLimit)));
    let environment = environment();
    let program = environment.compile("[1, 2, 3].all(x, x > 0)").expect("compiles");
    let activation = Activation::new(vec![Value::Null, Value::Null, Value::Null], &[], 10);
    assert_eq!(activation.evaluate(&program).err(), Some(Error::OutOfBudget));
}

#[test]
fn strange_texts_are_errors_and_never_panics() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(5000), close.repeat(5000));
    for source in [
        deep("(", ")"),
        deep("[", "]"),
        deep("!", ""),
        deep("-", ""),
        deep("{'a':", "}"),
        format!("object{}", ".a".repeat(30_000)),
        format!("object{}", "[0]".repeat(20_000)),
        format!("1{}", " + 1".repeat(10_000)),
        "x".repeat(100_000),
        "\u{0}\u{ffff}é".into(),
        "'\\u12".into(),
        "9999999999999999999".into(),
        "0x".into(),
        "-0x8000000000000000".into(),
        "'''".into(),
        "b'\\400'".into(),
        "`a`".into(),
        ".".into(),
        "a.?".into(),
    ] {
        let _ = environment().compile(&source).map(|program| run(&program));
    }
    // Every cut of a good text.
    let good =
        "self.ports.all(p, p.name.matches('^[a-z]+$') && p.port in [80, 0x1F] ? true : size(r'é') > 1.5e3)";
    for (at, _) in good.char_indices() {
        let _ = environment().compile(&good[..at]);
        let _ = environment().compile(&good[at..]);
    }
}

#[test]
fn every_signature_is_understood() {
    for (text, _) in crate::functions::tables().chain(crate::library::tables()).flatten() {
        assert!(!crate::signature::describe(text).contains("unknown"), "{text}");
    }
}
