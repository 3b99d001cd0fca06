"""A table of cases a detector: what it finds, and what only looks like it."""

from __future__ import annotations

import re

import pytest

from guardrails.personal import PersonalData

PERSONAL = PersonalData()

FOUND = {
    "EMAIL": [
        "write to «ann.lee+x@mail.example.co.uk», please",
        "Zoë's is «zoë.müller@example.org».",
        "<mailto:«a_b-c@example.org»>",
        '{"email": "«ann@example.org»"}',
        "id,«ann@example.org»,7",
        "full width: «ａｎｎ＠example．org»",
        "hidden: «an\u200bn@exam\u00adple.org»",
        "«ann [at] example [dot] org» works too",
        "'«ann@example.org»'",
    ],
    "PHONE": [
        "call me at «415-555-0132»",
        "Tel.: «(415) 555-0132 x22»",
        "«+44 20 7946 0958»",
        "WhatsApp «+49-170-5550123»",
        '{"phone":"«4155550132»"}',
        "my number is «079 4600 0158»",
        "Ann,«+1 (415) 555-0132»,Oslo",
        "call «٤١٥-٥٥٥-٠١٣٢» now",
        "call «five five five, oh one three two»",
        "«96 228011» office",
    ],
    "CREDIT_CARD": [
        "card «4111 1111 1111 1111», exp 12/27",
        "«4111-1111-1111-1111»",
        "«378282246310005» (Amex)",
        "pay with «5555555555554444».",
        '{"pan":"«6011111111111117»"}',
        "a;«3530111333300000»;b",
        "«４１１１１１１１１１１１１１１１»",
        "my card is «411111\u200b1111111111»",
        "the card «5018000000000009» is lost",
    ],
    "SSN": [
        "SSN «078-05-1121»",
        "social security number: «219 09 9998»",
        "my ssn is «123456789»",
        "records of «536-22-8701» are attached",
        "please confirm with «536 22 8701».",
        '{"ssn":"«536228701»"}',
        "SSN: «٥٣٦-٢٢-٨٧٠١»",
        "SSN «536–22–8701» with dashes of print",
    ],
    "IBAN": [
        "IBAN «DE89 3704 0044 0532 0130 00» please",
        "to «GB82WEST12345698765432».",
        "«fr1420041010050500013m02606»",
        "NO: «NO93 8601 1117 947», Oslo",
        '"iban": "«CH9300762011623852957»"',
    ],
    "IP_ADDRESS": [
        "from «203.0.113.7» at noon",
        "«2001:db8::8a2e:370:7334» answered",
        "http://«192.168.1.5»:5000/",
        "ip=«203.0.113.7»",
        "«fe80:0:0:0:202:b3ff:fe1e:8329»",
    ],
    "DOB": [
        "born on «1984-03-09»",
        "DOB: «03/09/1984»",
        "Date of birth «March 9th, 1984»",
        '"date_of_birth": "«9 Mar 1984»"',
        "Her birthday is «09.03.84»",
        "geboren am «9.3.1984»",
    ],
    "API_KEY": [
        "key «AKIAIOSFODNN7EXAMPLE»",
        "«sk-proj-abcDEF1234567890abcDEF1234567890»",
        "x-api-key: «sk-ant-api03-AbCdEf0123456789-_AbCdEf»",
        "«ghp_abcdefghijklmnopqrstuvwxyz0123456789»",
        "«xoxb-123456789012-abcdefABCDEF»",
        "«AIzaSyA1234567890abcdefghijklmnopqrstuv»",
        "«" + "sk_" + "live_abcdefghij0123456789»",
        "«eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz»",
        "AWS_SECRET_ACCESS_KEY=«wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE1KEY»",
        "password: «hunter2hunter»",
        "postgres://app:«s3cr3t»@db.example.org/x",
        "«-----BEGIN RSA PRIVATE KEY-----\nMIIEow0123\n-----END RSA PRIVATE KEY-----»\n",
        "cut: «-----BEGIN PRIVATE KEY-----\nMIIEow0123»",
    ],
    "MEDICAL_RECORD": [
        "MRN: «722992»",
        "medical record number «P2850270»",
        "«MRN-418985» and others",
        "Patient ID «4471-2290»",
        "NHS number «943 476 5919»",
        "Health plan beneficiary number: «AET-3456-7890-12»",
    ],
    "PASSPORT": [
        "passport number «915260488»",
        "Passport No: «C01X00T47»",
        "«P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10»",
    ],
    "TAX_ID": [
        "ITIN «912-78-1234»",
        "EIN: «12-3456789»",
        "NI number «AB 12 34 56 C»",
        "VAT number «DE123456789»",
        "Codice fiscale «RSSMRA85T10A562S»",
        "Steuer-ID «12 345 678 901»",
    ],
}

NOT_FOUND = {
    "EMAIL": ["see @ann on the net", "icon@2x.png", "a@b", "npm i left-pad@1.3.0", "ann at example dot org", "x@.org"],
    "PHONE": [
        "order 4155550132",
        "NPI 7252254266",
        "2024-03-09 10:11:12",
        "pi is 3.1415926535",
        "in 2023 and 2024",
        "version 10.15.7.19",
        "1,234,567,890 people",
        "https://example.org/item/4155550132",
        "account 4155550132",
        "9 6 4 2 21 14 22",
        "id: 415-555-0132",
        "driver's license number is 425700624",
    ],
    "CREDIT_CARD": [
        "card 4111 1111 1111 1112",
        "4111 1111 1111 111",
        "order 1234567812345670",
        "0000 0000 0000 0000",
        "IMEI 470508083254659",
        "41111111111111111",
        "x4111111111111111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ],
    "SSN": [
        "000-12-3456",
        "SSN 666-12-3456",
        "SSN 123-00-4567",
        "SSN 123-45-0000",
        "078-05-1120",
        "123456789",
        "9536-22-8701",
        "12 536 22 8701",
        "536 22 8701 44",
        "order 536 22 8701",
        "536-22-87012",
        "part 536-22-8701",
        "912-78-1234",
        "Suite 680 36 4022",
    ],
    "IBAN": ["DE88370400440532013000", "GB82WEST1234569876543", "ZZ82WEST12345698765432", "DE89", "AB12 is a model"],
    "IP_ADDRESS": [
        "127.0.0.1",
        "0.0.0.0",
        "255.255.255.0",
        "version 1.2.3.4",
        "Chrome/90.0.4430.212",
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "std::dead::beef",
        "12:30:45",
        "::1",
        "pkg==1.2.3.4",
    ],
    "DOB": ["the meeting on 1984-03-09", "founded 1984-03-09", "born in Oslo", "DOB: unknown"],
    "API_KEY": [
        "token: <YOUR_TOKEN_HERE>",
        "the key is important",
        "api_key = os.environ['API_KEY']",
        "password: ********",
        "password reset",
        "sk-learn-is-a-library-for-machines",
        "a public key: -----BEGIN PUBLIC KEY-----",
        "secret santa is on 24 December",
    ],
    "MEDICAL_RECORD": ["the record of 2023", "order 722992", "MRN is short for it", "record high of 100000"],
    "PASSPORT": ["order 915260488", "a passport costs 130", "passport control", "C01X00T47"],
    "TAX_ID": ["tax of 12 percent", "12-3456789", "order AB1234", "taxes in 2023"],
}


@pytest.mark.parametrize(
    ("kind", "marked"),
    [pytest.param(kind, case, id=f"{kind} {case}") for kind, cases in FOUND.items() for case in cases],
)
def test_it_is_found_where_it_stands(kind: str, marked: str) -> None:
    before, found, after = re.split("[«»]", marked)
    text, start, end = before + found + after, len(before), len(before) + len(found)
    assert (kind, start, end) in [(one.kind, one.start, one.end) for one in PERSONAL.find(text)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [pytest.param(kind, case, id=f"{kind} {case}") for kind, cases in NOT_FOUND.items() for case in cases],
)
def test_what_only_looks_like_it_is_not(kind: str, text: str) -> None:
    assert kind not in [one.kind for one in PERSONAL.find(text)]


def test_every_kind_with_a_shape_has_cases_of_both_sorts() -> None:
    assert set(FOUND) == set(NOT_FOUND)
